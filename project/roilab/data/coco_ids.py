"""The ids that an annotation file has for its images and categories."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roilab.errors import UserError
from roilab.text import first_of

_LARGEST_ID = 2**53  # beyond, JSON's numbers are not exact

Row = Mapping[str, Any]


@dataclass(frozen=True)
class CocoIds:
    """Maps between the numbers of a data set and the ids of its annotation file.

    Inside the package, images have integers that are unique over all files of a data set, and COCO
    rows number the categories from 1 in the order of the classes. What is written for others has
    the ids of the file, so that COCO's tools evaluate it against that file.

    Attributes:
        images: a record's `image_id` -> the file's id of the image, a number or text.
        categories: the file's id of each class, in the order of the classes.
    """

    images: Mapping[int, int | str]
    categories: tuple[int | str, ...]

    @classmethod
    def numbered(cls, images: Iterable[int], classes: int) -> "CocoIds":
        """The ids of data that have none: images keep their numbers, categories are 1..C."""
        return cls({number: number for number in images}, tuple(range(1, classes + 1)))

    def to_file(self, rows: Iterable[Row]) -> list[dict[str, Any]]:
        """COCO rows with the ids of the file in place of the package's; the rows are not changed.

        Args:
            rows: with `image_id` of a record and `category_id`, class index + 1.
        """
        return [
            {
                **row,
                "image_id": self.images[row["image_id"]],
                "category_id": self.categories[row["category_id"] - 1],
            }
            for row in rows
        ]

    def from_file(self, rows: Iterable[Row]) -> list[dict[str, Any]]:
        """The inverse of `to_file`.

        Raises:
            UserError: a row has an id that the file does not have.
        """
        images = {file_id: number for number, file_id in self.images.items()}
        categories = {file_id: place for place, file_id in enumerate(self.categories, 1)}
        result = []
        for row in rows:
            for key, known in (("image_id", images), ("category_id", categories)):
                if row[key] not in known:
                    raise UserError(
                        "a result has an id that the annotation file does not have",
                        key=key,
                        found=repr(row[key]),
                        expected=f"one of {first_of(list(map(repr, known)), 10)}",
                    )
            image, category = images[row["image_id"]], categories[row["category_id"]]
            result.append({**row, "image_id": image, "category_id": category})
        return result


def image_numbers(ids: Sequence[int | str | None]) -> list[int]:
    """An integer for each image: its own id where all are whole numbers from 0, else 1, 2, ..."""
    numbers = [each for each in ids if type(each) is int and 0 <= each < _LARGEST_ID]
    return numbers if len(numbers) == len(ids) else list(range(1, len(ids) + 1))


def category_ids(classes: Sequence[str], known: Mapping[str, int | str]) -> tuple[int | str, ...]:
    """An id for each class: the file's; of a class that the file does not have, the next free one.

    Args:
        known: category name -> id, of the file.
    """
    free = max((each for each in known.values() if isinstance(each, int)), default=0) + 1
    result: list[int | str] = []
    for name in classes:
        if name in known:
            result.append(known[name])
        else:
            result.append(free)
            free += 1
    return tuple(result)
