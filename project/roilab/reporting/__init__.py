"""Tables, plots and pages of annotations, of one model and of a sweep: Markdown, LaTeX, HTML."""

from roilab.reporting.evaluation_report import analysis_text as analysis_text
from roilab.reporting.evaluation_report import ap_table as ap_table
from roilab.reporting.evaluation_report import evaluation_page as evaluation_page
from roilab.reporting.evaluation_report import published_sections as published_sections
from roilab.reporting.evaluation_report import published_text as published_text
from roilab.reporting.evaluation_report import rows_beside_published as rows_beside_published
from roilab.reporting.statistics_page import statistics_page as statistics_page
from roilab.reporting.tta_report import AugmentationGain as AugmentationGain
