"""Does a deeper backbone improve masks: two or three blocks a stage? On the sample set.

roilab sweep configs/ablations/figures_backbone.py --output outputs/figures_backbone
Not run yet. Data: common/figures.py.
"""

from .backbone import sweep
from .common.figures import on_figures

_stages = "model.backbone.bottom_up.stages"
_deeper = {
    f"{_stages}.{stage}.{key}": value
    for stage, stride in enumerate((1, 2, 2, 2))
    for key, value in (("num_blocks", 3), ("stride_per_block", [stride, 1, 1]))
}

_arms = {"2 blocks a stage": {}, "3 blocks a stage": _deeper}
on_figures(sweep, "figures_mask", seeds=[0, 1], arms=_arms, baseline="2 blocks a stage")
del sweep.published  # of other backbones
