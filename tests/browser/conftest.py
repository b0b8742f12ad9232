"""The app as it is served, and a browser without a window."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from selenium import webdriver

from roilab.engine.run_folder import Run

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 40.0  # seconds, for what takes few on an idle machine
HOW_TO_INSTALL = "no chromium or no chromedriver: apt-get install chromium chromium-driver"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("the app in a browser")
    group.addoption("--screenshots", type=Path, metavar="DIR", help="keep pictures of the page")
    group.addoption("--run", type=Path, help="a trained run, for pictures worth looking at")


@pytest.fixture(scope="session")
def runs(tiny_run: Run, pytestconfig, tmp_path_factory) -> Path:
    """A folder of two runs: `trained`, and `earlier`, of older weights where there are some."""
    folder: Path = tmp_path_factory.mktemp("served")
    run = Run(pytestconfig.getoption("--run") or tiny_run.folder)
    earlier = next(iter(run.checkpoints()), run.weights)
    for age, (name, weights) in enumerate((("trained", run.weights), ("earlier", earlier))):
        copy = folder / name
        copy.mkdir()
        for file in (run.config_file, run.folder / "classes.json", run.folder / "skeleton.json"):
            shutil.copy(file, copy)
        shutil.copy(weights, copy)
        os.utime(copy / weights.name, (1e9 - age, 1e9 - age))
    return folder


@pytest.fixture(scope="session")
def address(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the app is served, from a folder that is not the checkout."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("app") / "log.txt"
    command = [sys.executable, ROOT / "scripts/app.py", "--runs", runs, "--server.port", port]
    with log.open("wb") as stream:
        app = subprocess.Popen(
            list(map(str, command)), cwd=log.parent, stdout=stream, stderr=subprocess.STDOUT
        )
    try:
        url = f"http://localhost:{port}"
        until(lambda: app.poll() is not None or _answers(url))
        if app.poll() is not None:
            pytest.fail(f"the app ended: {log.read_text()}")
        yield url
    finally:
        app.terminate()
        app.wait(PATIENCE)


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """Where the browser puts what it downloads."""
    return tmp_path / "downloads"


@pytest.fixture
def browser(address: str, downloads: Path, tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A Chromium with the app in it, as one sees it at first."""
    chromium, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver_path is None:
        pytest.fail(HOW_TO_INSTALL)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    switches = (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-sync"),
        *("--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"),
        *("--disable-component-update", "--hide-scrollbars", "--window-size=1440,1080"),
        f"--user-data-dir={tmp_path / 'profile'}",
    )
    for switch in switches:
        options.add_argument(switch)
    preferences = {
        "download.default_directory": str(downloads),
        "download.prompt_for_download": False,
    }
    options.add_experimental_option("prefs", preferences)
    driver = webdriver.Chrome(options, webdriver.ChromeService(driver_path))
    try:
        driver.get(address)
        yield driver
    finally:
        driver.quit()


def until(condition: Callable[[], object]) -> None:
    """Wait for something to be true.

    Raises:
        TimeoutError: it does not become so.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.1)


def awaited(read: Callable[[], T], expected: T) -> T:
    """What is read: the expected as soon as it is there, else what is there in its place."""
    with contextlib.suppress(TimeoutError):
        until(lambda: read() == expected)
    return read()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False
