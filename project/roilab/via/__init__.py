"""Annotation files of VIA and COCO <-> frozen records, and records -> instances with classes.

The standard library only.
"""

# `X as X` tells type checkers that the package offers the name.
from roilab.via.geometry import bounds as bounds
from roilab.via.geometry import outline as outline
from roilab.via.labels.attribute_roles import roles_of as roles_of
from roilab.via.labels.instances import Instance as Instance
from roilab.via.labels.instances import LabelledImage as LabelledImage
from roilab.via.labels.instances import LabelledSet as LabelledSet
from roilab.via.labels.instances import build_instances as build_instances
from roilab.via.labels.label_rules import LabelRules as LabelRules
from roilab.via.read import read as read
from roilab.via.records import SEVERITIES as SEVERITIES
from roilab.via.records import XY as XY
from roilab.via.records import Annotations as Annotations
from roilab.via.records import Attribute as Attribute
from roilab.via.records import Circle as Circle
from roilab.via.records import CocoAnnotation as CocoAnnotation
from roilab.via.records import CocoCategory as CocoCategory
from roilab.via.records import CocoImage as CocoImage
from roilab.via.records import Container as Container
from roilab.via.records import Ellipse as Ellipse
from roilab.via.records import ImageRecord as ImageRecord
from roilab.via.records import Point as Point
from roilab.via.records import Polygon as Polygon
from roilab.via.records import Polyline as Polyline
from roilab.via.records import Problem as Problem
from roilab.via.records import Rect as Rect
from roilab.via.records import Region as Region
from roilab.via.records import Severity as Severity
from roilab.via.records import Shape as Shape
from roilab.via.records import Value as Value
from roilab.via.records import refuse_errors as refuse_errors
from roilab.via.writer import WRITERS as WRITERS
from roilab.via.writer import with_declarations as with_declarations
from roilab.via.writer import write_csv as write_csv
from roilab.via.writer import write_json as write_json
from roilab.via.writer import write_project as write_project
