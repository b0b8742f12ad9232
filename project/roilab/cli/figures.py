"""Draw the sample set, scenes with people and cars and their VIA 2 projects, or a video of it.

    roilab figures --out datasets/figures
    roilab figures --out datasets/figures_rare_cars --car-share 0.05
    roilab figures --video datasets/figures/round.mp4

A second call with the same arguments finds the set and draws nothing. The video is for trying a
model: a camera circles over a scene of the sample set.
"""

import math
import shlex
from fractions import Fraction
from pathlib import Path

from roilab.cli.arguments import parser_of
from roilab.cli.console import progress
from roilab.synthetic import write_figures
from roilab.synthetic.sample_set import sample_scene

SCENE, WINDOW = 320, 256  # pixels a side of the whole scene, and of the view of the camera
RATE = 12  # frames a second


def main(arguments: list[str]) -> int:
    args = parser_of("figures", __doc__).parse_args(arguments)
    if args.video is not None:
        draw_video(args.video, args.frames, args.seed)
        return 0
    with progress(None, total=args.train + args.val) as bar:
        paths = write_figures(
            args.out,
            train=args.train,
            val=args.val,
            size=args.size,
            seed=args.seed,
            progress=lambda done: bar.update(done - bar.n),
            car_share=args.car_share,
        )
    if paths.reused:
        print(f"Already drawn; delete {args.out} to start over.")
    print(paths.train, paths.val, paths.skeleton, sep="\n")
    val = [str(paths.val), "--images", str(paths.val.parent), "--skeleton", str(paths.skeleton)]
    print(f"Next: {shlex.join(['roilab', 'data', 'draw', *val])}")
    return 0


def draw_video(file: Path, frames: int, seed: int) -> None:
    """Write the view of a camera that circles once over a scene."""
    from roilab.inference.video import video_writer  # it imports torch, which takes seconds

    picture = sample_scene("val", 0, SCENE, seed).image[:, :, ::-1]  # BGR
    with video_writer(file, Fraction(RATE), Fraction(1, RATE)) as add:
        for frame in range(frames):
            angle = 2 * math.pi * frame / frames
            radius = (SCENE - WINDOW) / 2
            x, y = (round(radius * (1 + part)) for part in (math.cos(angle), math.sin(angle)))
            add(picture[y : y + WINDOW, x : x + WINDOW], frame / RATE)
    print(file)
