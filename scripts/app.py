"""A page in the browser: what a run, or two beside each other, find in images and videos.

    python scripts/app.py --runs outputs

It starts Streamlit, as `streamlit run scripts/app.py -- --runs outputs` does, for this machine
alone. Options of Streamlit may follow, such as `--server.port 8600`; its settings are in
scripts/.streamlit/config.toml. docs/app.md says what the page shows, and its limits.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from _arguments import add_trust
from _main import run

try:
    from streamlit.runtime.scriptrunner import get_script_run_ctx
except ModuleNotFoundError:
    sys.exit("error: the app needs Streamlit: run `make setup`, or pip install streamlit")


def arguments(given: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our options, and those of Streamlit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("outputs"),
        metavar="DIR",
        help="runs are chosen from the folders in it, at any depth (default: outputs)",
    )
    add_trust(parser)
    return parser.parse_known_args(given)


def start() -> None:
    """Become the Streamlit that serves this file."""
    args, options = arguments(sys.argv[1:])
    if args.trust:
        from roilab.engine import trusted  # it imports torch, which takes seconds

        trusted.allow(args.trust)
    command = ["streamlit", "run", __file__, *options, "--", "--runs", str(args.runs)]
    os.execv(sys.executable, [sys.executable, "-m", *command])


if __name__ == "__main__":
    if get_script_run_ctx(suppress_warning=True) is None:
        run(start)
    # Not before: it imports torch, which takes seconds.
    from app_page.page import show_page

    args, _ = arguments(sys.argv[1:])
    show_page(args.runs, args.trust)
