"""Reading YAML that may come from anyone: plain data of bounded size."""

from pathlib import Path
from typing import Any

import yaml

from roilab.errors import UserError

# A config has some hundred values, of which class names are the most.
MAX_BYTES = 4 * 2**20
MAX_VALUES = 100_000
MAX_DEPTH = 64


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
    """What a YAML file holds: dicts, lists, text, numbers, dates.

    Raises:
        UserError: it is no YAML, has tags, or is larger or deeper than a config.
    """
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES // 2**20} MiB")
        loader = _Loader(content.decode("utf-8"))
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError("not a saved config", file=path, found=error) from error
