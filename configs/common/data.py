"""Data: one node for VIA and COCO files (recognised by content), and the loaders.

Your own data, on the command line:
    data.train.files=TRAIN.json data.train.images=DIR data.val.files=VAL.json data.val.images=DIR
    data.class_attribute=name                      # where the file has several attributes
    data.default_class=balloon                     # where it has none
    data.class_attribute= data.default_class=cat   # where the attribute that it has is no class
    'data.class_attribute=[scratch, dent]'         # where each attribute is a class of its own
    'data.class_map={persson: person, tree: null}' # rename, merge, drop
    data.unlabelled=skip                           # leave out regions without a class
    data.skeleton=coco_person                      # or a JSON file that declares yours
    data.strict=True                               # stop at an error in a file
    data.missing_images=skip                       # leave out images that are not there
Names of any signs are quoted for the shell alone: "data.train.files=via (10).json"; see
docs/overrides.md.
What is registered in Detectron2's DatasetCatalog: see datasets/README.md.
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from roilab.data.dataset import load
from roilab.data.loaders import eval_loader, train_loader

# What both splits share; each takes it from the `data` node.
_shared = {
    key: f"${{..{key}}}"
    for key in (
        "classes",
        "class_attribute",
        "class_map",
        "default_class",
        "keypoint_attribute",
        "instance_attribute",
        "visibility_attribute",
        "unlabelled",
        "keypoint_vertices",
        "skeleton",
        "strict",
        "missing_images",
    )
}

data = dict(
    # None: what the training files say.
    classes=None,
    num_classes=None,
    num_keypoints=None,
    # How VIA's attributes are read; see roilab.via.LabelRules. None: found where it is plain.
    class_attribute=None,
    class_map={},
    default_class=None,
    keypoint_attribute=None,
    instance_attribute=None,
    visibility_attribute=None,
    unlabelled="error",
    keypoint_vertices=None,
    skeleton=None,
    strict=False,
    missing_images="error",
    # When a run is resumed, the same data may be in another place.
    train=L(load)(
        files="datasets/coco/annotations/instances_train2017.json",
        images="datasets/coco/train2017",
        drop_empty=True,
        min_keypoints=0,
        **_shared,
    ),
    val=L(load)(
        files="datasets/coco/annotations/instances_val2017.json",
        images="datasets/coco/val2017",
        **_shared,
    ),
)

dataloader = dict(
    train=L(train_loader)(
        augmentations=[
            L(T.ResizeShortestEdge)(
                short_edge_length=[640, 672, 704, 736, 768, 800],
                max_size=1333,
                sample_style="choice",
            ),
            L(T.RandomFlip)(horizontal=True),
        ],
        total_batch_size=16,
        masks=False,
        keypoints=False,
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
