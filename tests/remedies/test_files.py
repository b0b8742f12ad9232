"""Remedies of annotation files, images and data sets work when they are followed."""

from . import cityscapes, coco_files, data_commands, datasets, images, labels, via_files
from .cases import follow_cases_of

test_the_remedy_works = follow_cases_of(
    cityscapes, coco_files, data_commands, datasets, images, labels, via_files
)
