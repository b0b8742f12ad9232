"""Tables, plots and pages of annotations, of one model and of a sweep: Markdown, LaTeX, HTML."""

from roilab.reporting.evaluation_report import analysis_text, ap_table, evaluation_page
from roilab.reporting.statistics_page import statistics_page

__all__ = ["analysis_text", "ap_table", "evaluation_page", "statistics_page"]
