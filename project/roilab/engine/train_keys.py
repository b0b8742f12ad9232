"""The keys of a training: their valid values, and what depends on each.

What depends on a key says whether it may change when a run is resumed: not where it is the weights.
`configs/common/train.py` says the same, and what each key is for.
"""

import math
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

from detectron2.utils import comm
from omegaconf import DictConfig, ListConfig, OmegaConf

from roilab.engine.training_log import TRACKERS
from roilab.errors import UserError

# "place": the key says where the data are, or follows from them; their fingerprints say whether
# they have changed.
Dependent = Literal["weights", "evaluation", "place", "nothing"]
Check = Callable[[Any], bool]

# Of the squares of an augmentation, in pixels: an image of this size takes gigabytes.
_LARGEST_SIDE = 8192


class Key(NamedTuple):
    """A key of a config: what depends on it, its valid values in words, and their check.

    Without words, the values are checked where they are used.
    """

    dependent: Dependent = "weights"
    expected: str = ""
    is_valid: Check = lambda value: True


def _number(expected: str, is_valid: Check, dependent: Dependent = "weights") -> Key:
    def is_valid_number(value: Any) -> bool:
        if value is None:
            return "null" in expected
        return type(value) in (int, float) and is_valid(value)

    return Key(dependent, expected, is_valid_number)


def _whole(least: int, dependent: Dependent = "weights", or_null: bool = False) -> Key:
    expected = f"a whole number from {least}" + (", or null" if or_null else "")
    return _number(expected, lambda n: type(n) is int and n >= least, dependent)


_FLAG = Key("weights", "True or False", lambda value: isinstance(value, bool))
_NAMES = Key(
    "weights",
    "a list of names, for example [roi_heads.mask_head.predictor.*]",
    lambda value: isinstance(value, ListConfig) and all(isinstance(name, str) for name in value),
)
_FOLDER = Key(
    "nothing", "the name of a folder", lambda value: isinstance(value, str) and value.strip() != ""
)
_TRACKER = Key(
    "nothing", f"{' or '.join(TRACKERS)}, or null", lambda value: value in (None, *TRACKERS)
)

# By the key, or a pattern with * for anything; it also stands for all keys below it. The weights
# depend on every key that is not here.
KEYS = {
    "train.output_dir": _FOLDER,
    "train.init_checkpoint": Key(),
    "train.may_differ": _NAMES,
    "train.freeze": _NAMES,
    "train.max_iter": _whole(1, "nothing"),
    "train.seed": _whole(0),
    "train.lr_batch_size": _whole(1, or_null=True),
    "train.accumulate": _whole(1),
    "train.clip_norm": _number("above 0, or null", lambda norm: norm > 0),
    "train.ema": _number("between 0 and 1, or null", lambda decay: 0 < decay < 1),
    "train.device": Key("nothing"),
    "train.precision": Key(),
    "train.channels_last": _FLAG,
    "train.cpu_kernels": _FLAG,
    "train.compile": _FLAG._replace(dependent="nothing"),
    "train.process_invariant": _FLAG,
    "train.class_balance": _number("from 0 to below 1, or null", lambda beta: 0 <= beta < 1),
    "train.log_period": _whole(1, "nothing"),
    "train.eval_period": _whole(0, "nothing"),
    "train.checkpoint_period": _whole(1, "nothing"),
    "train.checkpoints_kept": _whole(1, "nothing"),
    "train.best": Key(),
    "train.patience": _whole(1, "nothing", or_null=True),
    "train.max_unreadable": _number("a share, from 0 to 1", lambda x: 0 <= x <= 1, "nothing"),
    "train.tracker": _TRACKER,
    "optimizer.lr": _number("a number above 0", lambda rate: 0 < rate < math.inf),
    "lr_multiplier.max_iter": Key("nothing"),
    "dataloader.train.total_batch_size": _whole(1),
    "dataloader.train.repeat_threshold": _number(
        "a share of the images, from 0 to 1, or null", lambda share: 0 <= share <= 1
    ),
    "dataloader.train.num_workers": _whole(0, "nothing"),
    "dataloader.test.num_workers": _whole(0, "evaluation"),
    "dataloader.test": Key("evaluation"),
    "evaluation": Key("evaluation"),
    "model.roi_heads.box_predictor.test_*": Key("evaluation"),
    "model.roi_heads.keypoint_head.decoder": Key("evaluation"),
    "data.*.files": Key("place"),
    "data.*.images": Key("place"),
    "data.class_weights": Key("place"),  # with train.class_balance
}


def dependent_on(key: str) -> Dependent:
    """The results that depend on the value at a key."""
    for name, entry in KEYS.items():
        if fnmatchcase(key, name) or key.startswith(f"{name}."):
            return entry.dependent
    return "weights"


def check_values(cfg: DictConfig) -> None:
    """Raise UserError where the value at one of `KEYS` is not valid."""
    processes = comm.get_world_size()
    checks = [(key, entry.expected, entry.is_valid) for key, entry in KEYS.items()]
    if cfg.train.best is None:
        watched = "null, or a metric to watch as train.best"
        checks.append(("train.patience", watched, lambda patience: patience is None))
    if "augmentation_size" in cfg.data:  # a saved config has the sizes that follow from it
        side = f"a whole number from 1 to {_LARGEST_SIDE}"
        in_range = range(1, _LARGEST_SIDE + 1)
        checks.append(("data.augmentation_size", side, lambda n: type(n) is int and n in in_range))
    expected = f"a multiple of {processes}, the number of processes"
    checks.append(("dataloader.train.total_batch_size", expected, lambda n: n % processes == 0))
    for key, expected, is_valid in checks:
        value = OmegaConf.select(cfg, key, default=0)  # a loader may leave out `num_workers`
        if expected and not is_valid(value):
            raise UserError("a value makes no sense", key=key, found=value, expected=expected)
