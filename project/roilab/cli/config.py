"""Show a config as it is used, compare two configs, or suggest one for a data set.

    roilab config show configs/figures_mask.py
    roilab config show configs/figures_mask.py --key model.roi_heads pooler.op=roi_pool
    roilab config diff configs/figures_mask.py pooler.op=roi_pool train.seed=1
    roilab config diff configs/figures_mask.py configs/figures_keypoint.py
    roilab config diff outputs/first outputs/second
    roilab config suggest --train train.json --images photos --output my_config.py

A config is a file, the name of a config of RoILab, or a run folder, which has a config.yaml. `diff`
compares the first config with the second, or with itself, after the overrides. The exit status is
that of diff(1): 0 where they are equal and 1 where they differ. `roilab config suggest --help`
lists the arguments of `suggest`.
"""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from roilab.cli.arguments import parser_of
from roilab.cli.console import say
from roilab.engine import config, trusted
from roilab.engine.config_diff import difference_table, differences, yaml_text
from roilab.engine.config_keys import nearest_keys
from roilab.errors import UserError

USAGE = """%(prog)s show CONFIG [--key KEY] [key=value ...]
       %(prog)s diff CONFIG [CONFIG] [key=value ...]
       %(prog)s suggest --train FILE ... [--images DIR ...] [--val FILE ...] [--val-images DIR ...]
                [--base CONFIG] --output OUT [key=value ...]"""


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["suggest"]:
        from roilab.cli import config_suggest  # not needed to show a config

        return config_suggest.main(arguments[1:])
    parser = parser_of("config", __doc__)
    parser.usage = USAGE
    args = parser.parse_args(arguments)
    trusted.allow(args.trust)
    file = Path(config.find_config(args.config))
    if args.command == "show":
        return show_config(file, args.rest, args.key)
    if args.key is not None:
        raise UserError("--key goes with show", key="--key", found=args.key)
    other = None
    if args.rest and ("=" not in args.rest[0] or Path(args.rest[0]).exists()):
        other = Path(config.find_config(args.rest.pop(0)))
    rows = differences(load(file, []), load(other or file, args.rest))
    if rows:
        title = "with the overrides" if other is None else str(other)
        say(difference_table(rows, headers=("key", str(file), title)))
    return 1 if rows else 0


def load(path: Path, overrides: list[str]) -> DictConfig:
    return config.load_config(path / "config.yaml" if path.is_dir() else path, overrides)


def show_config(file: Path, overrides: list[str], key: str | None) -> int:
    """Print a config, or the part of it below a key, as the run folder will have it."""
    try:
        data: Any = config.to_plain_data(load(file, overrides))
    except UserError as error:
        raise error.replace(file=error.file or file) from error
    if key is not None:
        data = part(data, key, file)
    if isinstance(data, dict | list):
        say(config.to_yaml(data), end="")
    else:
        say(yaml_text(data))
    return 0


def part(data: dict[str, Any], key: str, file: Path) -> Any:
    """The part of a config below a key."""
    node: Any = data
    for name in key.split("."):
        if isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
        elif isinstance(node, dict) and name in node:
            node = node[name]
        else:
            expected = nearest_keys(OmegaConf.create(data), key)
            raise UserError("unknown key", file=file, key=key, expected=expected)
    return node
