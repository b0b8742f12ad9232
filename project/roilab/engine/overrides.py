"""Overrides of a config: `key=value`, as text and as the value that the text means.

The first rule that fits says what a value means:

1. `"text"` or `'text'`, quotes around all of it: this text. A backslash before a quote of the same
   kind or before another backslash is left out. So a text is written that would mean something
   else: `"null"`, `"3"`, `"[x]"`.
2. `null` or `None`: no value. `${other.key}`: the value of another key.
3. `[a, b]` is a list and `{name: a, other: b}` a dict, of values by these rules; its names are
   always text. A comma, colon or bracket in a text is quoted there, except brackets in pairs.
4. Where the key takes text, anything else is text, unchanged: `train.output_dir=runs, (10)=1`. A
   key takes text where its argument is annotated so, or else where its value is text; so do the
   items of a list or dict. Rule 3 is for a key that takes a list or dict as well, and what does
   not read as one is text.
5. `true`, `True`, `false`, `False`, and numbers: 3, -1.5, .5, 1e-4, 1_000, inf, nan.
6. Anything else is text, unchanged.
"""

import collections.abc
import re
import shlex
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from roilab.errors import UserError

Kind = Any  # an annotation: str | None, Sequence[str], ...; Any: not known
KindOf = Callable[[str], Kind]  # what a key takes

_WORDS = {"null": None, "None": None, "true": True, "True": True, "false": False, "False": False}
_INTEGER = re.compile(r"[+-]?(0|[1-9](_?[0-9])*)")
_NUMBER = re.compile(r"[+-]?((([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][+-]?[0-9]+)?)|inf)|nan")
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]+")
_REFERENCE = re.compile(r"\$\{[\w.]+\}")
_QUOTED = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*""", re.DOTALL)
_PAIRS = {"[": "]", "{": "}"}
A_LIST = "a list"
_SCALARS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "True or False"}
_SCALARS[types.NoneType] = "null"
# Text that needs no quotes, wherever it stands.
_PLAIN = re.compile(r"[^\s,:\[\]{}\"'$\\](?:[^,:\[\]{}\"'$\\\r\n]*[^\s,:\[\]{}\"'$\\])?")


class Reference(str):
    """The value of another key, as OmegaConf writes it: `${train.seed}`."""


def split_override(text: str) -> tuple[str, str]:
    """Split `key=value` into the key and the text of its value."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError("an override cannot be read", key=text, expected="key=value")
    return key.strip(), value


def parse_value(text: str, key: str, kind_of: KindOf, kind: Kind | None = None) -> Any:
    """Parse the text of a value by the rules above, as plain data with `Reference`s in it.

    Args:
        key: of the value.
        kind_of: returns what a key takes.
        kind: of the value; None: what the key takes.

    Raises:
        ValueError: a list or dict has no end, or an item is empty.
    """
    kind = kind_of(key) if kind is None else kind
    bare = text.strip()
    quoted = _unquoted(text)
    if quoted is not None:
        return quoted
    if bare in ("null", "None"):
        return None
    if _REFERENCE.fullmatch(bare):
        return Reference(bare)
    takes_text = _takes_text(kind)
    if bare[:1] in _PAIRS and (not takes_text or _takes_items(kind)):
        try:
            return _items(bare, key, kind_of, kind)
        except ValueError:
            if not takes_text and kind is not Any:
                raise
    if takes_text:
        return text
    if bare in _WORDS:
        return _WORDS[bare]
    if _INTEGER.fullmatch(bare):
        return int(bare)
    if _NUMBER.fullmatch(bare) and not _LEADING_ZERO.fullmatch(bare):
        return float(bare)
    return text


def _items(text: str, key: str, kind_of: KindOf, kind: Kind) -> list[Any] | dict[str, Any]:
    """The list or dict of a text that begins with a bracket; arguments as for `parse_value`."""
    if text[-1] != _PAIRS[text[0]] or len(text) < 2:
        raise ValueError(f"{text[0]} without {_PAIRS[text[0]]}")
    inner = text[1:-1]
    parts = _split(inner, ",") if inner.strip() else []
    if any(not part.strip() for part in parts):
        raise ValueError("an item is empty: quote a text, or leave out a comma")

    if text[0] == "[":
        item_kind = next(iter(_arguments(kind, collections.abc.Sequence)), Any)
        return [parse_value(part.strip(), key, kind_of, item_kind) for part in parts]

    result = {}
    for part in parts:
        name, *rest = _split(part, ":")
        if not rest or not name.strip():
            raise ValueError(f"{part.strip()} is not name: value")
        unquoted = _unquoted(name)
        name = name.strip() if unquoted is None else unquoted
        if name in result:
            raise ValueError(f"{name} occurs twice")
        value = ":".join(rest).strip()
        result[name] = parse_value(value, f"{key}.{name}", kind_of, values_kind(kind))
    return result


def _split(text: str, separator: str) -> list[str]:
    """A text at its separators, except in quotes and in pairs of brackets.

    A quote opens where an item begins; elsewhere it is an apostrophe.

    Raises:
        ValueError: a bracket or a quote has no partner.
    """
    parts = []
    start = 0  # of the part at hand
    at = 0
    item_begins = True
    closing: list[str] = []  # the brackets that close those that are open
    while at < len(text):
        char = text[at]
        if item_begins and char in "\"'":
            quoted = _QUOTED.match(text, at)
            if quoted is None:
                raise ValueError(f"{char} without a second one")
            at = quoted.end()
            item_begins = False
            continue
        if char in _PAIRS:
            closing.append(_PAIRS[char])
        elif char in _PAIRS.values():
            if not closing or closing.pop() != char:
                raise ValueError(f"{char} closes nothing: quote the text that it is in")
        elif char == separator and not closing:
            parts.append(text[start:at])
            start = at + 1
        item_begins = char in "[{,:" or (item_begins and char.isspace())
        at += 1
    if closing:
        raise ValueError(f"{closing[-1]} is missing: quote a text with a bracket")
    return [*parts, text[start:]]


def _unquoted(text: str) -> str | None:
    """The text within quotes that enclose all of it; None without such quotes."""
    if _QUOTED.fullmatch(text) is None:
        return None
    quote, inner = text.strip()[0], text.strip()[1:-1]
    return re.sub(rf"\\([{quote}\\])", r"\1", inner)


def choices(text: str) -> list[str]:
    """Split `key=a,b` into `key=a` and `key=b`; any other override stays one.

    A comma in quotes or in a pair of brackets does not separate.
    """
    key, value = split_override(text)
    try:
        parts = _split(value, ",")
    except ValueError:
        return [text]  # a text with a single bracket, or one that the config will refuse
    if len(parts) == 1:
        return [text]
    if any(not part.strip() for part in parts):
        remedy = f"quote a text with commas: {write(key, value)}"
        raise UserError("an empty choice", key=text, expected=f"{key}=a,b", remedy=remedy)
    return [f"{key}={part.strip()}" for part in parts]


def write(key: str, value: Any) -> str:
    """The override that sets a key to text, a number, a truth value, None, a list or a dict."""
    return f"{key}={_written(value)}"


def write_for_shell(key: str, value: Any) -> str:
    """The override as it is typed in a shell."""
    return shlex.quote(write(key, value))


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{_written(str(name))}: {_written(item)}" for name, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, str):
        number = _INTEGER.fullmatch(value) or _NUMBER.fullmatch(value)
        if _PLAIN.fullmatch(value) and value not in _WORDS and not number:
            return value
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _takes_text(kind: Kind) -> bool:
    """Whether a key of this annotation takes text, and neither numbers nor truth values."""
    members = _members(kind)
    return bool({str, Path} & members) and not {int, float, bool, Any} & members


def misfit(value: Any, kind: Kind) -> str:
    """The form that this annotation requires, in words; "" if the value fits, or may fit."""
    types_but_none = _members(kind) - {types.NoneType}
    if not types_but_none or isinstance(value, Reference):
        return ""
    takes_only_items = not _takes_text(kind) and all(map(_takes_items, types_but_none))
    if isinstance(value, str) and takes_only_items:
        return A_LIST if values_kind(kind) is None else "a dict: {name: value}"
    takes_only_scalars = types_but_none <= _SCALARS.keys()
    if isinstance(value, str | list | dict) and takes_only_scalars:
        words = [word for scalar, word in _SCALARS.items() if scalar in _members(kind)]
        return " or ".join(words)
    return ""


def values_kind(kind: Kind) -> Kind | None:
    """The annotation of a dict's values; None if each key has its own."""
    arguments = _arguments(kind, collections.abc.Mapping)
    return arguments[1] if arguments else None


def _arguments(kind: Kind, base: type) -> tuple[Any, ...]:
    """The arguments of the first type of a union that is a kind of `base`; (): there are none.

    Those of `list[int] | None` are `(int,)` for `Sequence`.
    """
    for member in _members(kind):
        if _is_kind_of(member, base) and get_args(member):
            return get_args(member)
    return ()


def _takes_items(kind: Kind) -> bool:
    """Whether a list or a dict is among what a key takes."""
    others = _members(kind) - {str}
    return any(_is_kind_of(member, collections.abc.Collection) for member in others)


def _is_kind_of(member: Kind, base: type) -> bool:
    origin = get_origin(member) or member
    return isinstance(origin, type) and issubclass(origin, base)


def _members(kind: Kind) -> set[Any]:
    """The types of a union; of a literal, those of its values."""
    if get_origin(kind) in (Union, types.UnionType):
        return {inner for member in get_args(kind) for inner in _members(member)}
    if get_origin(kind) is Literal:
        return {type(value) for value in get_args(kind)}
    return {kind}


def kind_of_value(value: Any) -> Kind:
    """An annotation that fits the value of a key; Any for None."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        texts = value and all(isinstance(item, str) for item in value)
        return list[str] if texts else list
    return Any if value is None else type(value)
