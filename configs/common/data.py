"""Annotation files (VIA or COCO, by content), the rules of their labels, and the loaders.

Your own data, on the command line:
    data.train.files=TRAIN.json data.train.images=DIR data.val.files=VAL.json data.val.images=DIR
    data.rules.class_attribute=name                      # where the file has several attributes
    data.rules.default_class=balloon                     # where it has none
    data.rules.class_attribute= data.rules.default_class=cat   # where no attribute is the class
    'data.rules.class_attribute=[scratch, dent]'         # where each attribute is a class
    'data.rules.class_map={persson: person, tree: null}' # rename, merge, drop
    data.rules.unlabelled=skip                           # leave out regions without a class
    data.skeleton=coco_person                            # or a JSON file that declares yours
    data.strict=True                                     # stop at an error in a file
    data.missing_images=skip                             # leave out missing and broken images
    dataloader.train.repeat_threshold=0.1                # draw images of a class that is in fewer
                                                         # than a tenth of them more often (LVIS)
    data.augmentation=copy_paste                         # or flip, lsj, small: augmentation.py
Names with spaces or brackets need quotes for the shell only: "data.train.files=via (10).json"; see
docs/overrides.md.
For a data set in Detectron2's DatasetCatalog, see datasets/README.md.
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from roilab.data.dataset import load_dataset
from roilab.data.loaders import eval_loader, train_loader
from roilab.via import LabelRules

from .augmentation import presets

# Both splits take these from `data`.
_names = ("rules", "classes", "skeleton", "strict", "missing_images")
_shared = {name: f"${{..{name}}}" for name in _names}

data = dict(
    # None: those of the training files.
    classes=None,
    num_classes=None,
    num_keypoints=None,
    class_weights=None,  # with train.class_balance
    # How VIA's attributes become classes and keypoints. None: inferred where it is unambiguous.
    rules=L(LabelRules)(
        class_attribute=None,
        class_map={},
        default_class=None,
        keypoint_attribute=None,
        instance_attribute=None,
        visibility_attribute=None,
        unlabelled="error",
        keypoint_vertices=None,
    ),
    skeleton=None,
    strict=False,
    missing_images="error",
    # When a run is resumed, its data may be in another place.
    train=L(load_dataset)(
        files="datasets/coco/annotations/instances_train2017.json",
        images="datasets/coco/train2017",
        drop_empty=True,
        min_keypoints=0,
        **_shared,
    ),
    val=L(load_dataset)(
        files="datasets/coco/annotations/instances_val2017.json",
        images="datasets/coco/val2017",
        **_shared,
    ),
    augmentation="flip",  # the preset that the training uses, one of `augmentations`
    augmentation_size=1024,  # side of the square images of lsj, small and copy_paste, in pixels
    augmentations=presets,
)

_preset = "data.augmentations.${data.augmentation}"
dataloader = dict(
    train=L(train_loader)(
        augmentations=f"${{{_preset}.augmentations}}",
        recompute_boxes=f"${{{_preset}.recompute_boxes}}",
        copy_paste=f"${{{_preset}.copy_paste}}",
        total_batch_size=16,
        image_format="${model.input_format}",
        num_workers=4,  # may change when a run is resumed
    ),
    # May change when a run is resumed.
    test=L(eval_loader)(
        augmentations=[L(T.ResizeShortestEdge)(short_edge_length=800, max_size=1333)],
        image_format="${model.input_format}",
        num_workers=4,
    ),
)
