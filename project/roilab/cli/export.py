"""Export a trained model to one file that runs without RoILab and Detectron2.

    roilab export --run outputs/demo --output model.onnx

The file is compared with the model on images of several sizes before it is written: boxes and
keypoints may differ by 0.5 pixels, masks must agree to an IoU of 0.99 without the pixels whose
probability is at the threshold. docs/export.md shows how to run it with onnxruntime, numpy and
Pillow.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from roilab.cli.console import say
from roilab.cli.parser import Parser, add_trust
from roilab.engine import config, trusted
from roilab.engine.run_folder import Run, open_run, reading
from roilab.errors import UserError
from roilab.export import FORMATS, export_run
from roilab.export.detector import INPUTS, MEANINGS
from roilab.inference import image_files, read_rgb

IMAGES = 3  # of the check; others are made of them


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(prog="roilab export", description=__doc__)
    parser.add_argument("--run", required=True, help="a folder written by roilab train")
    parser.add_argument(
        "--weights", metavar="FILE", help="of that folder (default: model_final.pth, or the newest)"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="to write")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="default: onnx")
    parser.add_argument(
        "--check",
        type=Path,
        metavar="IMAGES",
        help="an image, or a folder of images, with objects (default: the run's validation images)",
    )
    parser.add_argument(
        "--expected",
        type=Path,
        metavar="FILE",
        help="also write the images of the check and what the model finds in them (.npz), to "
        "repeat the check where the model will run",
    )
    add_trust(parser)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of its config")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    args = parse(arguments)
    trusted.allow(args.trust)
    folder = open_run(args.run, args.weights)
    with reading(folder):
        _export(args, folder)


def _export(args: argparse.Namespace, folder: Run) -> None:
    """Export a run, and say what is in the file."""
    files = _files(folder, args.overrides, args.check)
    _keep([folder.weights, folder.config_file, *files], args.output, args.expected)
    images = [read_rgb(file) for file in files]
    done = export_run(
        folder,
        args.output,
        args.format,
        images,
        overrides=args.overrides,
        expected=args.expected,
    )
    say("the file against the model:")
    for each in done.differences:
        say(f"  {each}")
    for title, names in (("inputs", INPUTS), ("outputs", done.outputs)):
        say(f"{title}:")
        for name in names:
            say(f"  {name:<12}{MEANINGS[name]}")
    say(f"{args.format}: {args.output} ({done.bytes / 1e6:.1f} MB)")
    if args.expected is not None:
        say(f"images of the check and what the model finds in them: {args.expected}")


def _files(folder: Run, overrides: Sequence[str], given: Path | None) -> list[Path]:
    """Images with objects: those given, or the first ones that the run was validated with."""
    if given is not None:
        return image_files(given, "--check")[:IMAGES]
    places = config.load_config(folder.config_file, overrides).data.val.get("images")
    while places is not None and not isinstance(places, str):
        places = next(iter(places), None)
    if places is None or not Path(places).is_dir():
        raise UserError(
            "the file is checked with images, and the run's validation images are not there",
            key="--check",
            found=places,
            expected="an image, or a folder of images, with objects",
        )
    return image_files(places, "--check")[:IMAGES]


def _keep(read: Sequence[Path], output: Path, expected: Path | None) -> None:
    """Make sure that what is written takes the place of nothing that is read, nor of each other."""
    if expected is not None and expected.resolve() == output.resolve():
        raise UserError(
            "two files would have one name", key="--expected", file=expected, remedy="give another"
        )
    for path in (output, expected):
        if path is not None and path.exists() and any(map(path.samefile, read)):
            raise UserError(
                "the file would be written over",
                file=path,
                found="a file that is read",
                remedy="give another name",
            )
