"""The generated sample set: articulated people and cars, annotated as a person would in VIA."""

from roilab.synthetic.sample_set import FiguresPaths, write_figures

__all__ = ["FiguresPaths", "write_figures"]
