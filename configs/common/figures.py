"""The sample set (`roilab figures --out datasets/figures`) on two CPU cores."""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L


def use_figures(data, dataloader, train):
    """Use the sample set as the data; its files declare the roles of their attributes."""
    for split in ("train", "val"):
        folder = f"datasets/figures/{split}"
        data[split].update(files=f"{folder}/via_project.json", images=folder)
    # Its images are small, and look alike.
    dataloader.train.update(augmentations=[L(T.RandomFlip)(horizontal=True)], total_batch_size=8)
    dataloader.test.augmentations = []
    train.update(lr_batch_size=8, max_iter=500, checkpoint_period=100)
