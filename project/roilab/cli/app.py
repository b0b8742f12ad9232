"""Open a page in the browser that shows what one run, or two side by side, find in your files.

    roilab app --runs outputs

It starts Streamlit, which only this machine can reach. Options of Streamlit may follow, such as
`--server.port 8600`; its settings are in .streamlit/config.toml beside this module. docs/app.md
describes the page and its limits.
"""

import contextlib
import importlib.util
import signal
import subprocess
import sys
from collections.abc import Sequence

from roilab.child_process import tied
from roilab.cli.arguments import parser_of
from roilab.cli.console import error_with_options, set_up
from roilab.errors import UserError

GRACE, POLL = 3.0, 0.1  # seconds until a server is killed, and between two looks at it


def main(arguments: list[str]) -> int:
    """Serve this file with Streamlit; returns the exit status."""
    args, options = parser_of("app", __doc__).parse_known_args(arguments)
    if importlib.util.find_spec("streamlit") is None:
        raise UserError(
            "the app needs Streamlit, which is not installed",
            remedy="run `make setup`, or pip install streamlit",
        )
    if args.trust:
        from roilab.engine import trusted  # it imports torch, which takes seconds

        trusted.allow(args.trust)
    return serve([sys.executable, "-m", "streamlit", "run", __file__, *options, "--", *arguments])


def serve(command: Sequence[str]) -> int:
    """Run a server until it ends by itself or on a signal; returns the exit status.

    A server whose model is at work does not end at a signal: it is killed after some seconds.
    """
    server = subprocess.Popen(tied(command, signal.SIGTERM))
    signals: list[int] = []

    def forward(number: int, _: object) -> None:
        signals.append(number)
        server.send_signal(signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, forward)
    left = GRACE
    while left > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = server.wait(POLL)
            return 128 + signals[0] if signals else status
        left -= POLL if signals else 0
    server.kill()
    server.wait()
    print(f"ended by {signal.Signals(signals[0]).name}", file=sys.stderr)
    return 128 + signals[0]


def show_app(arguments: Sequence[str]) -> None:
    """Draw the page."""
    from roilab.app.page import show_page  # it imports torch, which takes seconds
    from roilab.engine import trusted

    args, _ = parser_of("app", __doc__).parse_known_args(arguments)
    trusted.allow(args.trust)  # also of a page that Streamlit itself was started with
    train = f"roilab train --config-file CONFIG train.output_dir={args.runs / 'mine'}"
    show_page(args.runs, args.max_memory, error_with_options, train)


if __name__ == "__main__":  # Streamlit runs this file at every change of a widget
    set_up()
    show_app(sys.argv[1:])
