"""Draw the sample set: scenes with people and cars, and a VIA 2 project for train and for val.

    roilab figures --out datasets/figures
    roilab figures --video datasets/figures/round.mp4

A second call with the same arguments finds the set and draws nothing. The video is for trying a
model: a camera circles over a scene of the sample set.
"""

import argparse
import math
import shlex
from fractions import Fraction
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from roilab.cli.arguments import parser_of
from roilab.errors import UserError
from roilab.synthetic import write_figures
from roilab.synthetic.sample_set import sample_scene

SCENE, WINDOW = 320, 256  # pixels a side of the whole scene, and of the view of the camera
RATE = 12  # frames a second


def main(arguments: list[str]) -> int:
    options = parser_of("figures", __doc__).parse_args(arguments)
    if options.video is not None:
        draw_video(options.video, options.frames, options.seed)
    else:
        draw_set(options)
    return 0


def draw_set(options: argparse.Namespace) -> None:
    """The images and annotations of both splits."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("drawing", total=options.train + options.val)
        paths = write_figures(
            options.out,
            train=options.train,
            val=options.val,
            size=options.size,
            seed=options.seed,
            progress=lambda done: bar.update(task, completed=done),
        )
    if paths.reused:
        print(f"Already drawn; delete {options.out} to start over.")
    for path in (paths.train, paths.val, paths.skeleton):
        print(path)
    val = [str(paths.val), "--images", str(paths.val.parent), "--skeleton", str(paths.skeleton)]
    print(f"Next: {shlex.join(['roilab', 'data', 'draw', *val])}")


def draw_video(file: Path, frames: int, seed: int) -> None:
    """Write the view of a camera that circles once over a scene."""
    from roilab.inference.video import video_writer  # it imports torch, which takes seconds

    if frames < 1:
        raise UserError("no frame", key="--frames", found=frames, expected="1 or more")
    picture = sample_scene("val", 0, SCENE, seed).image[:, :, ::-1]  # BGR
    with video_writer(file, Fraction(RATE), Fraction(1, RATE)) as add:
        for frame in range(frames):
            angle = 2 * math.pi * frame / frames
            x, y = (
                round((SCENE - WINDOW) / 2 * (1 + part))
                for part in (math.cos(angle), math.sin(angle))
            )
            add(picture[y : y + WINDOW, x : x + WINDOW], frame / RATE)
    print(file)
