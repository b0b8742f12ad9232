"""Checks of the shapes of RoI features that a head takes."""

from detectron2.layers import ShapeSpec

from roilab.errors import UserError


def require_square(shape: ShapeSpec) -> None:
    """Make sure that RoI features are as wide as high: masks and heat maps are.

    Raises:
        UserError: they are not.
    """
    if shape.width != shape.height:
        raise UserError(
            "masks and heat maps are made of square RoI features",
            key="input_shape",
            found=f"height {shape.height}, width {shape.width}",
            expected="one number as output_size of the head's pooler",
        )
