"""Reading YAML that may come from anyone: plain data of bounded size."""

from pathlib import Path
from typing import Any

import yaml

from roilab.engine.run_record import read_verified
from roilab.errors import UserError
from roilab.files import decode

# A config has some hundred values, of which class names are the most.
MAX_BYTES = 4 * 2**20
MAX_VALUES = 100_000
MAX_DEPTH = 64
# What text raises that is no YAML, or that OmegaConf cannot take.
NOT_PLAIN_DATA = (
    yaml.YAMLError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


class _Loader(yaml.SafeLoader):
    """YAML's safe loader without tags, with a bound on values and depth, aliases written out."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = self.values = 0
        self.sizes: dict[int, int] = {}  # values in a node, by its identity

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if getattr(event, "tag", None) is not None:
            raise _refused(f"the tag {event.tag}", event)
        is_alias = isinstance(event, yaml.AliasEvent)
        before = self.values
        self.depth += 1
        self.values += 1
        if self.depth > MAX_DEPTH:
            raise _refused(f"more than {MAX_DEPTH} levels", event)
        node = super().compose_node(parent, index)
        self.depth -= 1
        if is_alias and id(node) not in self.sizes:
            raise _refused("an alias of what it is in", event)
        if is_alias:
            self.values = before + self.sizes[id(node)]
        self.sizes[id(node)] = self.values - before
        if self.values > MAX_VALUES:
            raise _refused(f"more than {MAX_VALUES:,} values", event)
        return node


def _refused(what: str, event: yaml.Event) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=event.start_mark)


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file: dicts, lists, text, numbers, dates.

    Raises:
        UserError: it is damaged, no YAML, has tags, or is larger or deeper than a config.
    """
    path = Path(path)
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise UserError(
            "not a saved config", file=path, found=f"more than {MAX_BYTES // 2**20} MiB"
        )
    text = decode(read_verified(path, what="the config"), path, what="the config")
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except NOT_PLAIN_DATA as error:
        raise UserError("not a saved config", file=path, found=error) from error
