"""Where images come from: a file or a folder."""

from pathlib import Path

from roilab.errors import UserError

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def image_files(source: str | Path) -> list[Path]:
    """The image itself, or the images of a folder by name; hidden files are no images.

    Raises:
        UserError: there is no such file or folder, or the folder holds no image.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError("no such image or folder", key="--input", file=path)
    found = sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    )
    if not found:
        raise UserError(
            "the folder holds no image",
            key="--input",
            file=path,
            expected=f"files ending in {', '.join(sorted(SUFFIXES))}",
        )
    return found
