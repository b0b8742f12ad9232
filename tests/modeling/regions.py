"""RoI features, proposals and detections for tests of heads."""

from collections.abc import Sequence

import torch
from detectron2.structures import Boxes, Instances, Keypoints, PolygonMasks
from torch import Tensor

SIZE = (120, 120)


def features(count: int = 5) -> Tensor:
    return torch.randn(count, 16, 14, 14, generator=torch.Generator().manual_seed(1))


def proposals(counts: Sequence[int] = (3, 2), keypoints: int = 5, seed: int = 0) -> list[Instances]:
    """Foreground proposals of images: a box with an ellipse and keypoints, some unlabelled.

    An image with none has no annotated fields, as in Detectron2.
    """
    generator = torch.Generator().manual_seed(seed)
    images = []
    for count in counts:
        image = Instances(SIZE)
        low = torch.rand(count, 2, generator=generator) * 40
        extent = 30 + torch.rand(count, 2, generator=generator) * 40
        image.proposal_boxes = Boxes(torch.cat([low, low + extent], dim=1))
        image.gt_classes = torch.randint(0, 3, (count,), generator=generator)
        if count:
            place = torch.rand(count, keypoints, 2, generator=generator)
            visible = torch.randint(0, 3, (count, keypoints, 1), generator=generator).float()
            visible[:, 0] = 2
            xy = low[:, None] + place * extent[:, None]
            image.gt_keypoints = Keypoints(torch.cat([xy * (visible > 0), visible], dim=2))
            image.gt_masks = PolygonMasks(
                [[ellipse(*box).numpy()] for box in image.proposal_boxes.tensor]
            )
        images.append(image)
    return images


def ellipse(x0: Tensor, y0: Tensor, x1: Tensor, y1: Tensor) -> Tensor:
    """The ring of the ellipse in a box, as x, y, x, y, ..."""
    angle = torch.linspace(0, 2 * torch.pi, 33)[:-1]
    x = (x0 + x1) / 2 + (x1 - x0) / 2 * angle.cos()
    y = (y0 + y1) / 2 + (y1 - y0) / 2 * angle.sin()
    return torch.stack([x, y], dim=1).flatten().double()


def detections(images: Sequence[Instances]) -> list[Instances]:
    """What the box head would find: the boxes of the proposals."""
    return [
        Instances(
            image.image_size,
            pred_boxes=image.proposal_boxes.clone(),
            pred_classes=image.gt_classes.clone(),
            scores=torch.linspace(1, 0.5, len(image)),
        )
        for image in images
    ]
