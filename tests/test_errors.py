"""A function's arguments in errors, under the names that the user knows."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roilab.errors import UserError, argument, rename_arguments

KEYS = {"kind": "data.kind", "names": "data.names"}
TEXTS = st.text(max_size=8)


def write(key: str, value: Any) -> str:
    return f"<{key} {value!r}>"


@given(
    TEXTS
    | st.lists(TEXTS, max_size=3)
    | st.dictionaries(TEXTS, st.none() | TEXTS, max_size=3)
    | st.none()
    | st.booleans()
)
def test_any_value_of_an_argument_is_written(value: Any) -> None:
    text = f"give {argument('kind', value)}, or none; {argument('names', value)}"
    expected = f"give {write('data.kind', value)}, or none; {write('data.names', value)}"
    assert rename_arguments(text, KEYS, write) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("give another=NAME", "data.kind=NAME", "--kind=NAME", "mankind=NAME", "kind = NAME"),
        *('a name from a file: kind="\\q"', "kind={no: JSON}", "a sweep's names=x,kind=3"),
        *("outputs/kind=3/model.pth", r"outputs\kind=3\model.pth", "kind=3/model.pth"),
        "kind=3.json",
    ],
)
def test_what_is_no_argument_stays(text: str) -> None:
    assert rename_arguments(text, KEYS, write) == text


def test_all_of_an_error_has_the_keys() -> None:
    error = UserError(
        "wrong", file="f", key="kind", found="a (give kind=A)", expected=3, remedy="give kind=B."
    ).with_keys(KEYS, write)
    assert (error.message, error.file, error.key, error.expected) == ("wrong", "f", "data.kind", 3)
    assert (error.found, error.remedy) == ("a (give <data.kind 'A'>)", "give <data.kind 'B'>.")
    other = UserError("wrong", key="line 1").with_keys(KEYS, write)
    assert (other.key, other.found, other.remedy) == ("line 1", None, None)
