"""Keypoint R-CNN, R50-FPN: 16 images of COCO a step, 90,000 (1x) or 270,000 (3x) steps.

roilab train --config-file configs/keypoint_rcnn_R_50_FPN_1x.py --num-gpus 8
Not run here. Detectron2's model zoo reports box AP 53.6, keypoint AP 64.0, with
train.schedule=3x box AP 55.4, keypoint AP 65.5 (8 V100).
"""

from .common.data import data, dataloader
from .common.models import keypoint_rcnn as model
from .common.models import pooler
from .common.schedule import lr_multiplier, optimizer
from .common.train import evaluation, torchvision_weights, train, weights, zoo

# As upstream: ImageNet's stem and res2 stay as they are.
model.backbone.bottom_up.freeze_at = 2
data.skeleton = "coco_person"
data.train.min_keypoints = 1
data.train.files = "datasets/coco/annotations/person_keypoints_train2017.json"
data.val.files = "datasets/coco/annotations/person_keypoints_val2017.json"
weights.coco = zoo("COCO-Keypoints/keypoint_rcnn_R_50_FPN_3x/137849621/model_final_a6e10b.pkl")
weights.torchvision = torchvision_weights("KeypointRCNN_ResNet50_FPN_Weights.COCO_V1")
train.output_dir = "outputs/keypoint_rcnn_R_50_FPN_${train.schedule}"
