"""VIA files <-> frozen records, and records -> labelled instances. The standard library only."""

from roilab.via.instances import (
    Instance,
    LabelledImage,
    LabelledSet,
    LabelRules,
    label,
    roles_of,
)
from roilab.via.layout import with_declarations
from roilab.via.raise_on_errors import refuse_errors
from roilab.via.read import read
from roilab.via.records import (
    SEVERITIES,
    Annotations,
    Attribute,
    CocoAnnotation,
    CocoCategory,
    CocoImage,
    Container,
    ImageRecord,
    Problem,
    Region,
    Severity,
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
from roilab.via.writer import WRITERS, write_csv, write_json, write_project

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
    "label",
    "outline",
    "read",
    "refuse_errors",
    "roles_of",
    "with_declarations",
    "write_csv",
    "write_json",
    "write_project",
]
