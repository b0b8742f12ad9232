"""Annotation files of VIA and COCO <-> frozen records, and records -> instances with classes.

The standard library only.
"""

from roilab.via.geometry import bounds, outline
from roilab.via.labels.attribute_roles import roles_of
from roilab.via.labels.instances import Instance, LabelledImage, LabelledSet, build_instances
from roilab.via.labels.label_rules import LabelRules
from roilab.via.read import read
from roilab.via.records import (
    SEVERITIES,
    XY,
    Annotations,
    Attribute,
    Circle,
    CocoAnnotation,
    CocoCategory,
    CocoImage,
    Container,
    Ellipse,
    ImageRecord,
    Point,
    Polygon,
    Polyline,
    Problem,
    Rect,
    Region,
    Severity,
    Shape,
    Value,
    refuse_errors,
)
from roilab.via.writer import WRITERS, with_declarations, write_csv, write_json, write_project

__all__ = [
    "SEVERITIES",
    "WRITERS",
    "XY",
    "Annotations",
    "Attribute",
    "Circle",
    "CocoAnnotation",
    "CocoCategory",
    "CocoImage",
    "Container",
    "Ellipse",
    "ImageRecord",
    "Instance",
    "LabelRules",
    "LabelledImage",
    "LabelledSet",
    "Point",
    "Polygon",
    "Polyline",
    "Problem",
    "Rect",
    "Region",
    "Severity",
    "Shape",
    "Value",
    "bounds",
    "build_instances",
    "outline",
    "read",
    "refuse_errors",
    "roles_of",
    "with_declarations",
    "write_csv",
    "write_json",
    "write_project",
]
