"""Make a video to try the demo with: a camera that goes round over a scene of the sample set.

python scripts/make_video.py --out datasets/figures/round.mp4
"""

import math
from fractions import Fraction
from pathlib import Path

from _arguments import Parser
from _main import run

from roilab.data.figures.sample_set import scene
from roilab.errors import UserError
from roilab.inference.video import video_writer

SCENE, WINDOW = 320, 256  # pixels a side, of what there is and of what the camera sees
RATE = 12  # frames a second


def main() -> None:
    """Draw the scene, and write what the camera sees."""
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".mp4 to write")
    parser.add_argument("--frames", type=int, default=36, metavar="N", help="of one round")
    parser.add_argument("--seed", type=int, default=0, metavar="K", help="of the scene")
    options = parser.parse_args()
    if options.frames < 1:
        raise UserError("no frame", key="--frames", found=options.frames, expected="1 or more")

    picture = scene("val", 0, SCENE, options.seed).image[:, :, ::-1]  # BGR
    with video_writer(options.out, Fraction(RATE), Fraction(1, RATE)) as add:
        for frame in range(options.frames):
            angle = 2 * math.pi * frame / options.frames
            x, y = (
                round((SCENE - WINDOW) / 2 * (1 + part))
                for part in (math.cos(angle), math.sin(angle))
            )
            add(picture[y : y + WINDOW, x : x + WINDOW], frame / RATE)
    print(options.out)


if __name__ == "__main__":
    run(main)
