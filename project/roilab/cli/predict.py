"""Find instances in images or a video, and draw them.

    roilab predict --run outputs/demo --input datasets/figures/val --output outputs/pictures
    roilab predict --run outputs/demo --input street.mp4 --output outputs/street --smooth
    roilab predict --run outputs/demo --input webcam:0 --output outputs/webcam

--save chooses the files of the output folder. By default images give a picture of each,
overview.jpg with the first of them, and predictions.json; a video gives a video and
predictions.json. `via` is a VIA 2 project with the least certain images first: correct it in VIA
and train with it.

--tta finds instances in views of each image, scaled and mirrored, and merges them, which takes
several times as long.

Ctrl-C finishes the images in work and keeps the results; a webcam runs until then. The exit status
is 1 where images cannot be read or do not fit into the memory, or a video is broken; 2 where
nothing can be read; 130 after Ctrl-C, except with a webcam; and 143 after SIGTERM. docs/demo.md
describes the files and their columns.
"""

import argparse
import contextlib
import itertools
import sys
import time
from collections.abc import Iterator
from functools import partial

from roilab.cli.arguments import parser_of
from roilab.cli.console import ended, error_with_options, progress, say
from roilab.cli.shared_arguments import views_of
from roilab.engine import trusted
from roilab.engine.run_folder import Run, open_run, reading
from roilab.engine.signals import Interrupted, Stop, stop_on_signals
from roilab.errors import UserError
from roilab.inference import Predictor
from roilab.inference.formats import describe_run
from roilab.inference.predictor import FramePrediction, predict_frames
from roilab.inference.prefetch import Abandoned, LargeItemGate, in_background, prefetch
from roilab.inference.rendering import OVERVIEW
from roilab.inference.sinks import OutputPlan, Outputs, open_outputs
from roilab.inference.sources import Frame, Source, open_source
from roilab.inference.tracking import frame_tracker
from roilab.text import counted

LARGE = 20_000_000  # pixels, from which an image is predicted alone
# Seconds after a signal for the model, and for writing.
LONGEST_STEP, LONGEST_WAIT = 2.0, 3.5
SHOWN = 5  # unreadable images whose error is printed; of the others, the names


def main(arguments: list[str]) -> int:
    args = parser_of("predict", __doc__).parse_args(arguments)
    trusted.allow(args.trust)
    source = open_source(args.input)
    runs = [open_run(args.run, args.weights)]
    if args.compare:
        runs.append(open_run(args.compare))
    with reading(*runs):
        return _predict(args, source, runs)


def _predict(args: argparse.Namespace, source: Source, runs: list[Run]) -> int:
    """Check the outputs, and predict; returns the exit status, also after a signal."""
    plan = OutputPlan(
        source=source,
        folder=args.output,
        kinds=args.save or ("picture" if source.video is None else "video", "json"),
        runs=[
            describe_run(run, title, args.threshold, views_of(args))
            for run, title in zip(runs, _titles(runs), strict=True)
        ],
    )
    plan.check()
    if args.smooth and source.video is None:
        raise UserError(
            "images do not follow each other in time",
            key="--smooth",
            expected="a video or a webcam as --input",
        )
    if args.smooth and all(run.skeleton is None for run in plan.runs):
        raise UserError("the run has no keypoints to smooth", key="--smooth", file=args.run)
    with stop_on_signals("ends after the images in work; their results are kept") as stop:
        try:
            return ended(_predict_until(args, plan, runs, stop))
        except Abandoned:
            what = "the work in progress took too long: pictures were written, and no files of data"
        except Interrupted as error:
            what = str(error)
        say(what, file=sys.stderr)
        return ended(128 + stop.number)


def _predict_until(args: argparse.Namespace, plan: OutputPlan, runs: list[Run], stop: Stop) -> int:
    """Predict, write and print until the end or a signal; returns the exit status."""
    options = {"fast": not args.exact, "max_memory": args.max_memory, "tta": views_of(args)}
    with stop.at_once():
        predictors = [Predictor.from_run(run, args.overrides, **options) for run in runs]
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            "cannot make the folder", key="--output", file=args.output, found=error.strerror
        ) from error
    broken: list[UserError] = []
    start = time.perf_counter()
    outputs = _process(args, plan, predictors, broken, stop)
    seconds = time.perf_counter() - start
    total = counted(outputs.images, "image" if plan.source.video is None else "frame")
    _report(args, outputs, total)
    rate = outputs.images / seconds
    say(f"{total} in {seconds:.1f} s, {rate:.1f} a second, from reading to writing")
    if broken and plan.source.video is None:
        say(f"{counted(len(broken), 'image')} left out:", file=sys.stderr)
    if broken:
        say(_errors(broken), file=sys.stderr)
    if stop.requested and plan.source.inputs:
        say(f"interrupted after {total}", file=sys.stderr)
        return 128 + stop.number
    return 1 if broken else 0


def _process(
    args: argparse.Namespace,
    plan: OutputPlan,
    predictors: list[Predictor],
    broken: list[UserError],
    stop: Stop,
) -> Outputs:
    """Write the predictions, and append the errors of what cannot be read to `broken`.

    Raises:
        UserError: nothing can be read, or a file cannot be written.
    """
    source = plan.source
    gate = LargeItemGate()
    limits = [limit for limit in (source.count, args.limit) if limit is not None]
    total = min(limits, default=None)
    unit = "image"
    track = None
    if source.video is not None:
        unit = "frame"
        track = frame_tracker([run.skeleton for run in plan.runs], smooth=args.smooth)
    bar = progress(None, unit, total=total, smoothing=0.1)

    def readable(items: Iterator[Frame | UserError]) -> Iterator[Frame]:
        for item in items:
            if stop.requested:
                return
            if isinstance(item, UserError):
                broken.append(item)
                bar.update()
            else:
                yield item

    with open_outputs(plan) as outputs, bar:

        def write(result: FramePrediction) -> None:
            try:
                outputs.add(result if track is None else track(result))
            except BaseException:
                gate.close()  # no later frame is written, for which a large one would wait
                raise
            gate.leave()

        size = max(2, args.batch)
        frames = itertools.islice(_frames(source, predictors, gate, args.batch), args.limit)
        with (
            prefetch((frame for frame in frames), size) as items,
            in_background(write, size, partial(stop.is_overdue, LONGEST_WAIT)) as later,
        ):
            options = {"batch": args.batch, "threshold": args.threshold}
            predicted = predict_frames(readable(items), predictors, **options)
            # In a thread, since a model cannot be interrupted.
            overdue = partial(stop.is_overdue, LONGEST_STEP)
            with prefetch(predicted, 1, overdue) as results, contextlib.closing(gate):
                for result in results:
                    bar.update()
                    if isinstance(result, FramePrediction):
                        later(result)
                        continue
                    broken.append(result)
                    gate.leave()
                    if source.video is not None:  # the other frames are as large
                        break
        if not outputs.images:
            raise _nothing(broken, stop)
    return outputs


def _frames(
    source: Source, predictors: list[Predictor], gate: LargeItemGate, batch: int
) -> Iterator[Frame | UserError]:
    """The frames of the source, large images alone; one too large for memory gives its error."""
    entered = False

    def check(width: int, height: int) -> None:
        nonlocal entered
        # Images of one batch have to be read together.
        gate.enter(width * height > LARGE and batch == 1)
        entered = True
        for predictor in predictors:
            predictor.memory.check_image(width, height)

    for item in source.frames(check):
        if isinstance(item, UserError) and entered:
            gate.leave()
        if isinstance(item, Frame) and not entered:
            gate.enter(False)
        entered = False
        yield item


def _titles(runs: list[Run]) -> list[str]:
    """The names of the runs; their folders, or names and weights, where names are equal."""
    names = [run.folder.absolute().name for run in runs]
    folders = [str(run.folder) for run in runs]
    weights = [f"{name} {run.weights.stem}" for name, run in zip(names, runs, strict=True)]
    distinct = (titles for titles in (names, folders, weights) if len(set(titles)) == len(titles))
    return next(distinct, names)


def _report(args: argparse.Namespace, outputs: Outputs, total: str) -> None:
    plan = outputs.plan
    for problem in outputs.problems:
        say(problem, file=sys.stderr)
    if plan.runs[0].tta is not None:
        say(f"test-time augmentation: {plan.runs[0].tta}")
    instances = counted(outputs.instances, "instance")
    say(f"{instances} with a score of at least {args.threshold} in {total}")
    for path in plan.data_files.values():
        say(f"instances: {path}")
    if "video" in plan.kinds:
        say(f"video:     {plan.video_file}")
    if plan.saves_frames:
        say(f"frames:    {plan.frame_folder}")
    if "picture" in plan.kinds:
        say(f"pictures:  {args.output}")
        if plan.source.video is None:
            say(f"overview:  {args.output / OVERVIEW}")
    if args.compare:
        say(f"the data are of {plan.runs[0].title}; {plan.runs[1].title} is in the pictures alone")


def _errors(broken: list[UserError]) -> str:
    """The errors of the first images, and the names of all others."""
    lines = [str(error_with_options(error)) for error in broken[:SHOWN]]
    if len(broken) > SHOWN:
        lines += ["nor can these be read:", *(f"  {error.file}" for error in broken[SHOWN:])]
    return "\n".join(lines)


def _nothing(broken: list[UserError], stop: Stop) -> BaseException:
    """The reason why no image is left."""
    if stop.requested:
        return Interrupted(stop.number, "nothing was found yet: nothing is written")
    if not broken:
        return KeyboardInterrupt()
    if len(broken) == 1:
        return broken[0]
    return UserError(f"none of the {len(broken)} images can be read\n{_errors(broken)}")
