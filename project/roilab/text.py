"""Words of messages: nouns with their numbers, the first of many, and shortened texts."""

from collections.abc import Mapping, Sequence


def counted(count: int, one: str, several: str | None = None) -> str:
    """A number with its noun, which for several gets an s or is `several`: "1 image"."""
    return f"{count:d} {one if count == 1 else several or one + 's'}"


def first_of(items: Sequence[object], shown: int = 5, separator: str = ", ") -> str:
    """The first of many, and the number of the others: "a, b and 7 more".

    The number has a line of its own if `separator`, between the items, has a line break.
    """
    text = separator.join(map(str, items[:shown]))
    if len(items) <= shown:
        return text
    before = f"{separator}... and" if "\n" in separator else " and"
    return f"{text}{before} {len(items) - shown} more"


def counts_line(counts: Mapping[str, int], shown: int = 10) -> str:
    """The first of many names, each with its number: "person 3, car 5 and 2 more"."""
    return first_of([f"{name} {count}" for name, count in counts.items()], shown)


def shortened(text: str, width: int) -> str:
    """A text in at most `width` letters: a longer one has dots in place of its middle."""
    if len(text) <= width:
        return text
    end = (width - 3) // 2
    return f"{text[: width - 3 - end]}...{text[-end:]}"
