"""Mask R-CNN, R50-FPN, on Cityscapes: 8 images a step, 24,000 steps from ImageNet's weights.

roilab train --config-file configs/mask_rcnn_R_50_FPN_cityscapes.py --num-gpus 8
The data are the official tree, datasets/cityscapes with gtFine and leftImg8bit. The recipe is that
of Mask R-CNN (arXiv 1703.06870), Appendix A, with Detectron2's model: shorter sides of 800 to 1,024
pixels in training and of 1,024 in evaluation, a drop of the learning rate at 18,000 steps.
train.schedule=coco begins with COCO's weights: 4,000 steps, with the drop at 3,000.
train.init_checkpoint=coco, alone, is Detectron2's recipe: COCO's weights and 24,000 steps. In both
the last layers begin anew, as in Detectron2; the paper took COCO's for the classes that COCO has.
Masks are those of instanceIds.png, holes included; Detectron2 draws polygons without holes.
Not run here. The paper reports AP 31.5 on val, 36.4 from COCO's weights; Detectron2 reports 36.5
with its recipe (AP by Cityscapes' rules; 8 GPUs).
"""

from .mask_rcnn_R_50_FPN_1x import (
    data,
    dataloader,
    evaluation,
    lr_multiplier,
    model,
    optimizer,
    pooler,
    train,
    weights,
)

for _split in ("train", "val"):
    data[_split].update(files=f"datasets/cityscapes/gtFine/{_split}", images=None)

_sides = [800, 832, 864, 896, 928, 960, 992, 1024]
data.augmentations.flip.augmentations[0].update(short_edge_length=_sides, max_size=2048)
dataloader.train.total_batch_size = 8
dataloader.test.augmentations[0].update(short_edge_length=1024, max_size=2048)

optimizer.lr = 0.01
train.update(
    output_dir="outputs/mask_rcnn_R_50_FPN_cityscapes_${train.schedule}",
    lr_batch_size=8,
    schedule="fine",
    schedules={
        "fine": dict(max_iter=24000, drops=[3 / 4], init_checkpoint="imagenet"),
        "coco": dict(max_iter=4000, drops=[3 / 4], init_checkpoint="coco"),
    },
    init_checkpoint="${train.schedules.${train.schedule}.init_checkpoint}",
    eval_period=8000,
)
