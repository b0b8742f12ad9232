"""The problem of an instance outside its image, of which nothing is left to train on."""

from roilab import via


def outside(
    file: str, image: via.ImageRecord, instance: via.Instance, width: int, height: int
) -> via.Problem:
    """Say that an instance is left out, since it lies outside its image of width x height."""
    return via.Problem(
        "error",
        f"left out: the {instance.label} lies outside the image of {width} x {height} pixels",
        "delete the region, or see that the image is the annotated one",
        file,
        image.filename,
        instance.regions[0],
    )
