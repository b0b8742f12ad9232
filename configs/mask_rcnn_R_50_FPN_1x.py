"""Mask R-CNN, R50-FPN: 16 images of COCO a step, 90,000 (1x) or 270,000 (3x) steps.

roilab train --config-file configs/mask_rcnn_R_50_FPN_1x.py --num-gpus 8
Not run here. Detectron2's model zoo reports box AP 38.6, mask AP 35.2, with
train.schedule=3x box AP 41.0, mask AP 37.2 (8 V100).
"""

from .common.data import data, dataloader
from .common.models import mask_rcnn as model
from .common.models import pooler
from .common.schedule import lr_multiplier, optimizer
from .common.train import evaluation, torchvision_weights, train, weights, zoo

# As upstream: ImageNet's stem and res2 stay as they are.
model.backbone.bottom_up.freeze_at = 2
_folder = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x/137849600"
weights.coco = zoo(f"{_folder}/model_final_f10217.pkl")
weights.torchvision = torchvision_weights("MaskRCNN_ResNet50_FPN_Weights.COCO_V1")
train.output_dir = "outputs/mask_rcnn_R_50_FPN_${train.schedule}"
