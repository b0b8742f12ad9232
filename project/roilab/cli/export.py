"""Export a trained model to one file that runs without RoILab and Detectron2.

    roilab export --run outputs/demo --output model.onnx

Before it is written, the file is compared with the model on images of several sizes: boxes and
keypoints may differ by 0.5 pixels, and masks must agree to an IoU of 0.99 without the pixels whose
probability is at the threshold. docs/export.md shows how to run the file with onnxruntime, numpy
and Pillow.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from roilab.cli.arguments import parser_of
from roilab.cli.console import say
from roilab.engine import config, trusted
from roilab.engine.run_folder import Run, open_run, reading
from roilab.errors import UserError
from roilab.export import export_run
from roilab.export.detector import INPUTS, MEANINGS
from roilab.inference import expand_inputs, read_rgb

IMAGES = 3  # that are compared; others are derived from them


def main(arguments: list[str]) -> None:
    args = parser_of("export", __doc__).parse_args(arguments)
    trusted.allow(args.trust)
    run = open_run(args.run, args.weights)
    with reading(run):
        _export(args, run)


def _export(args: argparse.Namespace, run: Run) -> None:
    source = args.check
    if source is None:  # the first of the run's folders of validation images
        source = config.load_config(run.config_file, args.overrides).data.val.get("images")
        while source is not None and not isinstance(source, str):
            source = next(iter(source), None)
        if source is None or not Path(source).is_dir():
            raise UserError(
                "the file is compared on images, and the run's validation images are not available",
                key="--check",
                found=source,
                expected="an image, or a folder of images, with objects",
            )
    files = expand_inputs(source, "--check")[:IMAGES]
    _refuse_to_overwrite([run.weights, run.config_file, *files], args.output, args.expected)
    exported = export_run(
        run,
        args.output,
        args.format,
        [read_rgb(file) for file in files],
        overrides=args.overrides,
        expected=args.expected,
    )
    differences = (f"  {line}" for line in exported.differences)
    say("the file against the model:", *differences, sep="\n")
    for title, names in (("inputs", INPUTS), ("outputs", exported.outputs)):
        say(f"{title}:", *(f"  {name:<12}{MEANINGS[name]}" for name in names), sep="\n")
    say(f"{args.format}: {args.output} ({exported.bytes / 1e6:.1f} MB)")
    if args.expected is not None:
        say(f"images of the check and what the model finds in them: {args.expected}")


def _refuse_to_overwrite(sources: Sequence[Path], output: Path, expected: Path | None) -> None:
    """Refuse to write over a file that is read, or both outputs into one file."""
    if expected is not None and expected.resolve() == output.resolve():
        raise UserError(
            "two files would have one name", key="--expected", file=expected, remedy="give another"
        )
    for path in (output, expected):
        if path is not None and path.exists() and any(map(path.samefile, sources)):
            raise UserError(
                "the file would be written over",
                file=path,
                found="a file that is read",
                remedy="give another name",
            )
