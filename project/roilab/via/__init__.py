"""VIA files <-> frozen records, and records -> labelled instances. The standard library only."""

from roilab.via.instances import Instance, LabelledImage, LabelledSet, LabelRules, label
from roilab.via.read import read
from roilab.via.records import (
    Annotations,
    Attribute,
    Container,
    ImageRecord,
    Problem,
    Region,
    Value,
)
from roilab.via.shapes import (
    XY,
    Circle,
    Ellipse,
    Point,
    Polygon,
    Polyline,
    Rect,
    Shape,
    bounds,
    outline,
)
from roilab.via.write import write_project

__all__ = [
    "XY",
    "Annotations",
    "Attribute",
    "Circle",
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
    "Shape",
    "Value",
    "bounds",
    "label",
    "outline",
    "read",
    "write_project",
]
