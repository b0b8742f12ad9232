"""A file that was read but not yet understood."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from roilab.via.strict_json import Repeated

# COCO's run-length encoding of a mask -> its rings (x0, y0, x1, y1, ...) and how many pixels the
# holes in them have, which rings cannot leave out. Raises ValueError where it is no such encoding.
RingsOfRle = Callable[[Mapping[str, object]], tuple[Sequence[Sequence[float]], int]]


@dataclass(frozen=True, slots=True)
class Document:
    """The content of a file.

    Attributes:
        file: its path, for messages.
        text: all of it; "" where it is JSON, which is in `data`.
        data: the JSON value that the text holds; None where it is not JSON.
        repeated: keys that occur more than once in one JSON object; `data` has the last.
        rings_of_rle: the reader of run-length encoded masks, where it is at hand.
        keypoints_as_points: whether keypoints of a COCO annotation become regions.
    """

    file: str
    text: str
    data: object
    repeated: tuple[Repeated, ...] = ()
    rings_of_rle: RingsOfRle | None = None
    keypoints_as_points: bool = True

    @property
    def top(self) -> Mapping[str, object]:
        """The JSON object at the top level; an empty one where there is none."""
        return self.data if isinstance(self.data, Mapping) else {}
