"""Remedies of images, and of regions outside them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from roilab import via
from roilab.data import dataset, loaders
from roilab.image_files import read_rgb

from .cases import Attempts, Wrong, add_cases, attempt, case, wrong
from .files import FAR, OUTSIDE, SIZE, SQUARE, coco, entry, image, point, polygon, via_json, write
from .reading import check, load

ROOT = Path(__file__).parents[2]


@case("put it there, or give the folder that holds it")
def a_missing_image(dog: Path, tmp_path: Path) -> Attempts:
    (tmp_path / "other").mkdir()
    (dog.parent / "0.png").rename(tmp_path / "other" / "0.png")
    yield check(dog)
    yield check(dog, tmp_path / "other")
    image(dog.parent / "0.png")
    yield check(dog)


@case("give only the folder of the annotated ones, or rename the others")
def two_images_of_one_name(dog: Path) -> Attempts:
    (dog.parent / "0.png").unlink()
    for number in (1, 2):
        image(dog.parent / f"{number}" / "0.png", number)
    yield check(dog)
    yield check(dog, dog.parent / "1")
    (dog.parent / "2" / "0.png").rename(dog.parent / "2" / "other.png")
    yield check(dog)


@case("put it into the folder that is stated")
def an_image_that_another_entry_means(tmp_path: Path) -> Attempts:
    entries = {name: entry(name, [polygon(kind="dog")]) for name in ("a/0.png", "b/0.png")}
    file = write(tmp_path / "via.json", entries)
    image(tmp_path / "a" / "0.png")
    yield check(file)
    image(tmp_path / "b" / "0.png", 3)
    yield check(file)


@case("make sure that it is the same picture, or put the image into that folder")
def an_image_in_another_folder(tmp_path: Path) -> Attempts:
    file = write(tmp_path / "via.json", {"a": entry("a/0.png", [polygon(kind="dog")])})
    other = image(tmp_path / "b" / "0.png")
    yield check(file)
    shutil.copytree(other.parent, tmp_path / "a")
    yield check(file)


@case("make them one: what only one of them holds is background in the other")
def two_entries_of_one_file(tmp_path: Path) -> Attempts:
    one, two = [polygon(kind="dog")], [polygon(*FAR, kind="dog")]
    file = tmp_path / "via.json"
    image(tmp_path / "0.png")
    entries = {"a": entry("0.png", one), "b": entry("./0.png", two)}
    yield check(write(file, entries))
    yield check(write(file, {"a": entry("0.png", one + two)}))


@case("replace the image file")
def a_broken_image(dog: Path) -> Attempts:
    write(dog.parent / "0.png", "no image")
    yield check(dog)
    image(dog.parent / "0.png")
    yield check(dog)


@case("make sure that it is the same picture")
def an_image_of_other_bytes(tmp_path: Path) -> Attempts:
    size = image(tmp_path / "0.png").stat().st_size
    annotated = entry("0.png", [polygon(kind="dog")], size=size)
    file = write(tmp_path / "via.json", {"a": annotated})
    image(tmp_path / "0.png", size=(128, 128))
    yield check(file)
    image(tmp_path / "0.png")
    yield check(file)


@case("make sure that they are the same pictures, and not others of the same names")
def images_of_other_bytes(tmp_path: Path) -> Attempts:
    names = ("0.png", "1.png")
    sizes = {name: image(tmp_path / name).stat().st_size for name in names}
    regions = [polygon(kind="dog")]
    entries = {name: entry(name, regions, size=size) for name, size in sizes.items()}
    file = write(tmp_path / "via.json", entries)

    def problems() -> list[via.Problem]:
        result: list[via.Problem] = []
        dataset.load_dataset(str(file), on_problems=result.extend)
        return result

    for name in names:
        image(tmp_path / name, size=(128, 128))
    yield wrong(problems)
    for name in names:
        image(tmp_path / name)
    yield wrong(problems)


@case("make it smaller, or cut it into several")
def an_image_of_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attempts:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 // 2)
    big = image(tmp_path / "big.png", size=(80, 80))
    yield wrong(read_rgb, big)
    with Image.open(image(tmp_path / "small.png", size=(39, 39))) as picture:
        picture.save(big)
    yield wrong(read_rgb, big)


# Regions and their images.


@attempt
def checked(folder: Path, *regions: Any, size: tuple[int, int] = SIZE) -> Wrong:
    """A file of these regions is checked with an image of this size."""
    file = via_json(folder, list(regions))
    image(folder / "0.png", size=size)
    return check(file)


DOG, BIG = polygon(kind="dog"), (128, 96)
CUT = polygon((50, 5), (80, 5), (80, 15), (50, 15), kind="dog")
LOST = polygon(*OUTSIDE, kind="dog")
OUTLINES = {
    "what is outside is cut off; see that the image has the annotated size": [
        checked(CUT, size=size) for size in (SIZE, BIG)
    ],
    "delete the region, or see that the image is the annotated one": [
        checked(DOG, LOST),
        checked(DOG, LOST, size=BIG),
        checked(DOG),
    ],
}


@case("delete the region, or see that the image is the annotated one")
def an_annotation_outside(tmp_path: Path) -> Attempts:
    far = {"segmentation": [[70, 5, 80, 5, 80, 15, 70, 15]], "bbox": [70, 5, 10, 10]}
    lost = coco(tmp_path, SQUARE, far)
    yield _strict(lost)
    image(tmp_path / "0.png", size=(128, 96))
    sizes = [{"id": 1, "file_name": "0.png", "width": 128, "height": 96}]
    data = json.loads(lost.read_text()) | {"images": sizes}
    yield _strict(write(lost, data))
    yield _strict(coco(tmp_path, SQUARE))


def _strict(file: Path) -> Wrong:
    """The problems that are listed in the one error of a file that is read strictly."""
    for error in load(file, strict=True):
        remedy = str(error.found).rpartition("(")[2].rstrip(")")
        return [via.Problem("error", str(error.found), remedy, "")]
    return []


@case(
    "draw its outline or delete it in the file, or train without masks: "
    "model.roi_heads.mask_in_features=null"
)
def a_mask_model_without_outlines(tmp_path: Path, bones: Path) -> Attempts:
    nose = point(9, 9, part="nose")

    def loader(file: Path, masks: bool) -> Any:
        data = dataset.load_dataset(str(file), skeleton=str(bones))
        return loaders.eval_loader(data, augmentations=[], masks=masks, num_workers=0)

    yield wrong(loader, via_json(tmp_path, [nose]), masks=True)
    yield wrong(loader, via_json(tmp_path, [nose]), masks=False)
    yield wrong(loader, via_json(tmp_path, [nose, polygon(kind="dog")]), masks=True)
    yield wrong(loader, via_json(tmp_path, [polygon(kind="dog")]), masks=True)


@case("repair the file, or take it out of the annotations")
def an_image_that_breaks_while_it_is_evaluated(tmp_path: Path) -> Attempts:
    def evaluate(file: Path, breaks: bool) -> None:
        data = dataset.load_dataset(str(file))
        if breaks:
            write(tmp_path / "0.png", "no image")
        list(loaders.eval_loader(data, augmentations=[], num_workers=0))

    two = [polygon(kind="dog")], [polygon(kind="dog")]
    yield wrong(evaluate, via_json(tmp_path, *two), breaks=True)
    yield wrong(evaluate, via_json(tmp_path, *two), breaks=False)
    file = write(tmp_path / "via.json", {"b": entry("1.png", two[1])})
    yield wrong(evaluate, file, breaks=True)


@case(
    "spread {} to {} over the whole range, in the images to predict, too: "
    '"Images of 16 bits" in datasets/README.md has the program'
)
def few_bits_in_a_file_of_16(dog: Path, tmp_path: Path) -> Attempts:
    grey = np.linspace(0, 4095, SIZE[0] * SIZE[1]).reshape(SIZE[::-1])
    Image.fromarray(grey.astype(np.uint16)).save(dog.parent / "0.png")
    problems = check(dog)
    yield problems
    ends = re.findall(r"\d+", str(problems[0].remedy))[:2]
    text = (ROOT / "datasets" / "README.md").read_text(encoding="utf-8")
    program = write(tmp_path / "spread.py", re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
    subprocess.run([sys.executable, program, *ends, dog.parent / "0.png"], check=True)
    yield check(dog)


add_cases(__name__, OUTLINES)
