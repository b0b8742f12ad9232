"""Does repeat-factor sampling improve a rare class? On the sample set with one car in 20 objects.

roilab figures --out datasets/figures_128_rare --size 128 --train 1600 --val 256 --car-share 0.05
roilab sweep configs/ablations/figures_repeat_factor.py --output outputs/figures_repeat_factor
Mask AP of cars +5.9, 4.4 to 7.4 (docs/results). The validation images are those of the other
sweeps, in which cars are a third of the objects, so that their AP varies less: common/figures.py.
"""

from .common.figures import on_figures

_folder = "datasets/figures_128_rare/train"
_train = {"data.train.files": f"{_folder}/via_project.json", "data.train.images": _folder}

sweep = dict(
    # Of the 1,469 training images that are not empty 168 have a car: they are drawn
    # sqrt(0.5 * 1469 / 168) = 2.1 times as often.
    arms={"off": {}, "repeat factor": {"dataloader.train.repeat_threshold": 0.5}},
    baseline="off",
    metrics=["segm/AP-car", "segm/AP-person", "segm/AP", "bbox/AP-car"],
)
on_figures(sweep, "figures_mask", seeds=[0, 1, 2], overrides=_train)
