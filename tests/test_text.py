"""Words of messages."""

import pytest

from roilab.text import counted, counts_line, first_of


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


def test_the_first_of_many() -> None:
    assert first_of([1, 2, 3], 3) == "1, 2, 3"
    assert first_of("abcd", 2) == "a, b and 2 more"
    assert first_of("abcd", 2, "\n  ") == "a\n  b\n  ... and 2 more"
    assert first_of([]) == ""
    assert counts_line({"person": 3, "car": 5, "bus": 1}, 2) == "person 3, car 5 and 1 more"
