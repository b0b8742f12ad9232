"""Show a config as it is used, or what two configs differ in.

    roilab config show configs/figures_mask.py
    roilab config show configs/figures_mask.py --key model.roi_heads pooler.op=roi_pool
    roilab config diff configs/figures_mask.py pooler.op=roi_pool train.seed=1
    roilab config diff configs/figures_mask.py configs/figures_keypoint.py
    roilab config diff outputs/first outputs/second

A config is a file or a run folder, whose config.yaml it then is. `diff` compares the first as it
stands with the second, or else with itself, and the overrides; its exit status is 0 if they are
equal and 1 if they differ, as that of diff(1).
"""

import argparse
import difflib
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from roilab.cli.console import say
from roilab.cli.parser import Parser, add_trust
from roilab.engine import config, trusted
from roilab.engine.config_diff import difference_table, differences, value_text
from roilab.engine.config_keys import keys
from roilab.errors import UserError


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="roilab config",
        description=__doc__,
        usage="%(prog)s show CONFIG [--key KEY] [key=value ...]\n"
        "       %(prog)s diff CONFIG [CONFIG] [key=value ...]",
    )
    parser.add_argument("command", choices=("show", "diff"))
    parser.add_argument(
        "config",
        type=_path,
        metavar="CONFIG",
        help="a file, a run folder, or the name of a config of RoILab",
    )
    parser.add_argument("--key", help="show only what is below it, such as model.roi_heads")
    add_trust(parser)
    parser.add_argument("rest", nargs="*", metavar="key=value", help="overrides of the config")
    args = parser.parse_args(arguments)
    args.other = None
    if args.command == "diff" and args.rest and _is_config(args.rest[0]):
        args.other = _path(args.rest.pop(0))
    if args.command == "diff" and args.key is not None:
        parser.error("--key goes with show")
    return args


def _path(name: str) -> Path:
    return Path(config.find_config(name))


def _is_config(word: str) -> bool:
    return "=" not in word or Path(word).exists()


def load(path: Path, overrides: list[str]) -> DictConfig:
    return config.load_config(path / "config.yaml" if path.is_dir() else path, overrides)


def show(args: argparse.Namespace) -> int:
    """Print a config, or a part of it, as the run folder will have it."""
    try:
        data: Any = config.to_plain_data(load(args.config, args.rest))
    except OmegaConfBaseException as error:
        raise UserError(
            "a value of the config follows one that is not there",
            file=args.config,
            key=error.full_key,
            found=str(error).splitlines()[0],
        ) from error
    except UserError as error:
        raise error if error.file else error.of_file(args.config) from error
    if args.key is not None:
        data = part(data, args.key, args.config)
    if isinstance(data, dict | list):
        say(config.to_yaml(data), end="")
    else:
        say(value_text(data))
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
            near = difflib.get_close_matches(key, keys(OmegaConf.create(data)))
            expected = f"perhaps {' or '.join(near)}" if near else f"one of {', '.join(data)}"
            raise UserError("unknown key", file=file, key=key, expected=expected)
    return node


def diff(args: argparse.Namespace) -> int:
    """Print what differs; 1 if anything does."""
    other = args.other or args.config
    found = differences(load(args.config, []), load(other, args.rest))
    if found:
        here = str(args.other) if args.other is not None else "with the overrides"
        say(difference_table(found, headers=("key", str(args.config), here)))
    return 1 if found else 0


def main(arguments: list[str]) -> int:
    args = parse(arguments)
    trusted.allow(args.trust)
    return diff(args) if args.command == "diff" else show(args)
