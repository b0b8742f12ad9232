"""Words of messages."""

import pytest

from roilab.text import counted


@pytest.mark.parametrize(
    ("count", "words", "expected"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (2, ("image",), "2 images"),
        (1, ("row has", "rows have"), "1 row has"),
        (12, ("row has", "rows have"), "12 rows have"),
    ],
)
def test_the_noun_agrees_with_its_number(count: int, words: tuple[str], expected: str) -> None:
    assert counted(count, *words) == expected
