"""The modules of cases, in parts that can be tested side by side."""

from . import (
    catalog,
    coco_files,
    data_commands,
    datasets,
    engine,
    images,
    inference,
    labels,
    overrides,
    own_data,
    sweeps,
    via_files,
)

FILES = (coco_files, data_commands, datasets, images, labels, via_files)
CONFIGS = (catalog, overrides, own_data, inference, sweeps)
TRAINING = (engine,)
