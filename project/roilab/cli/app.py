"""A page in the browser: what a run, or two beside each other, find in images and videos.

    roilab app --runs outputs

It starts Streamlit for this machine alone. Options of Streamlit may follow, such as
`--server.port 8600`; its settings are in .streamlit/config.toml beside this file. docs/app.md
says what the page shows, and its limits.
"""

import argparse
import contextlib
import importlib.util
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from roilab.child_process import tied
from roilab.cli.console import set_up
from roilab.cli.options import error_with_options
from roilab.cli.parser import add_max_memory, add_trust
from roilab.errors import UserError

GRACE, POLL = 3.0, 0.1  # seconds for a server to end, and between two looks


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our options, and those of Streamlit."""
    parser = argparse.ArgumentParser(
        prog="roilab app",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("outputs"),
        metavar="DIR",
        help="runs are chosen from the folders in it, at any depth (default: outputs)",
    )
    add_max_memory(parser)
    add_trust(parser)
    return parser.parse_known_args(arguments)


def main(arguments: list[str]) -> int:
    """Serve this file with Streamlit; returns the exit status."""
    args, options = parse(arguments)
    if importlib.util.find_spec("streamlit") is None:
        raise UserError(
            "the app needs Streamlit, which is not installed",
            remedy="run `make setup`, or pip install streamlit",
        )
    if args.trust:
        from roilab.engine import trusted  # it imports torch, which takes seconds

        trusted.allow(args.trust)
    own = ["--runs", str(args.runs)]
    if args.max_memory is not None:
        own += ["--max-memory", str(args.max_memory / 1e9)]
    return serve([sys.executable, "-m", "streamlit", "run", __file__, *options, "--", *own])


def serve(command: Sequence[str]) -> int:
    """Run a server until it ends by itself, or a signal asks for it; returns the exit status.

    A server whose model is at work does not end by itself: it is given some seconds.
    """
    server = subprocess.Popen(tied(command, signal.SIGTERM))
    asked: list[int] = []

    def ask(number: int, _: object) -> None:
        asked.append(number)
        server.send_signal(signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, ask)
    left = GRACE
    while left > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = server.wait(POLL)
            return 128 + asked[0] if asked else status
        left -= POLL if asked else 0
    server.kill()
    server.wait()
    print(f"ended by {signal.Signals(asked[0]).name}", file=sys.stderr)
    return 128 + asked[0]


def show(arguments: Sequence[str]) -> None:
    """Draw the page."""
    from roilab.app.page import show_page  # it imports torch, which takes seconds

    args, _ = parse(arguments)
    show_page(args.runs, args.trust, args.max_memory, error_with_options)


if __name__ == "__main__":  # Streamlit runs this file at every change of a widget
    set_up()
    show(sys.argv[1:])
