"""The generated sample set: articulated people and cars, annotated as a person would in VIA."""

from roilab.synthetic.sample_set import FiguresPaths as FiguresPaths
from roilab.synthetic.sample_set import write_figures as write_figures
