"""roilab app as people use it: it is served, and a Chromium looks at it."""

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from roilab.image_files import read_rgb
from roilab.inference.video import video_writer
from roilab.synthetic import FiguresPaths
from roilab.via import read

from .conftest import awaited, until

STEP = 0.01  # of the sliders


class Page:
    """What one sees and does."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> Any:
        until(lambda: self.all(selector))
        return self.all(selector)[0]

    def text(self) -> str:
        return self.driver.execute_script("return document.body.innerText")

    def wait_for(self, text: str) -> None:
        """Until a text is there and the script has ended that may change it."""
        ended = '[data-testid="stApp"][data-test-script-state="notRunning"]'
        until(lambda: text in self.text() and self.all(ended))
        assert not self.all('[data-testid="stException"]')

    def rows(self) -> list[list[str]]:
        """The cells of the first table: it is drawn on a canvas, with a table in it for readers."""
        script = """
            const rows = document.querySelectorAll('[data-testid="stDataFrame"] tbody tr');
            return [...rows].map(row => [...row.cells].map(cell => cell.textContent));
        """
        return self.driver.execute_script(script)

    def scores(self) -> list[float]:
        return [float(row[1]) for row in self.rows()]

    def pictures(self) -> int:
        """How many are there, whole."""
        script = """
            const pictures = [...document.querySelectorAll('[data-testid="stImage"] img')];
            return pictures.filter(picture => picture.complete && picture.naturalWidth).length;
        """
        return self.driver.execute_script(script)

    def videos(self) -> list[int]:
        """The widths of those that play."""
        script = "return [...document.querySelectorAll('video')].map(video => video.videoWidth)"
        return self.driver.execute_script(script)

    def upload(self, *files: Path) -> None:
        self.one('input[type="file"]').send_keys("\n".join(map(str, files)))

    def press(self, key: str, times: int = 1) -> None:
        """Press a key on the slider of the score."""
        self.one(".st-key-threshold input").send_keys(key * times)

    def choose(self, key: str, option: str) -> None:
        self.one(f".st-key-{key} button").click()
        self.click('[role="option"]', option)

    def click(self, selector: str, text: str) -> None:
        """Click what ends in a text, when it is there."""
        until(lambda: [element for element in self.all(selector) if element.text.endswith(text)])
        next(element for element in self.all(selector) if element.text.endswith(text)).click()


@pytest.fixture
def page(browser: webdriver.Chrome) -> Page:
    return Page(browser)


@pytest.fixture
def keep_picture(browser: webdriver.Chrome, pytestconfig: pytest.Config) -> Any:
    """Write a picture of the whole page into the folder of --screenshots, if it is given."""

    def call(name: str) -> None:
        folder = pytestconfig.getoption("--screenshots")
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            with Image.open(io.BytesIO(browser.get_screenshot_as_png())) as picture:
                picture.convert("RGB").save(folder / name, quality=88, subsampling=0)

    return call


def downloaded(folder: Path, name: str) -> Path:
    """The file, when it is there as a whole: it has another name before."""
    until((folder / name).is_file)
    return folder / name


def test_upload_slider_download(
    page: Page, downloads: Path, figures: FiguresPaths, tmp_path: Path
) -> None:
    page.wait_for("sample.png")
    picture = tmp_path / "street.jpg"
    picture.write_bytes((figures.val.parent / "000001.jpg").read_bytes())
    page.upload(picture)
    page.wait_for("street.jpg")
    page.wait_for("96 × 96 pixels")
    page.press(Keys.HOME)
    page.wait_for("a score of 0.00 or more")
    until(page.rows)
    everything = page.scores()
    assert len(everything) > 1

    steps = round(everything[len(everything) // 2] / STEP)
    page.press(Keys.ARROW_RIGHT, steps)
    page.wait_for(f"a score of {steps * STEP:.2f} or more")
    expected = [score for score in everything if score >= steps * STEP]
    assert 0 < len(expected) < len(everything)
    assert awaited(page.scores, expected) == expected

    page.click("button", "JSON")
    data = json.loads(downloaded(downloads, "trained_predictions.json").read_text())
    (image,) = data["images"]
    assert image["file_name"] == "street.jpg"
    shown = [[instance["class"], instance["score"]] for instance in image["instances"]]
    assert [[row[0], pytest.approx(float(row[1]))] for row in page.rows()] == shown

    page.click("button", "VIA project")
    project = read(downloaded(downloads, "trained_via_project.json"), strict=True)
    (annotated,) = project.images
    assert (annotated.filename, annotated.size) == ("street.jpg", picture.stat().st_size)
    instances = {region.attributes["instance"] for region in annotated.regions}
    assert len(instances) == len(expected)

    page.click("button", "Picture")
    with Image.open(downloaded(downloads, "trained_street.png")) as drawn:
        assert drawn.size == (3 * 96, 3 * 96)
    assert not list(downloads.glob("*.crdownload"))


def test_what_is_no_image_is_told(page: Page, tmp_path: Path) -> None:
    page.wait_for("sample.png")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"PK\3\4 an archive")
    page.upload(broken)
    page.wait_for("this is no image")
    assert "broken.png" in page.one('[data-testid="stAlert"]').text
    assert awaited(page.pictures, 0) == 0


def test_a_drawn_video_plays(page: Page, figures: FiguresPaths, tmp_path: Path) -> None:
    page.wait_for("sample.png")
    images = [read_rgb(path) for path in sorted(figures.val.parent.glob("*.jpg"))]
    with video_writer(tmp_path / "walk.mp4", Fraction(4), Fraction(1, 90000)) as add:
        for index, image in enumerate(images):
            add(image, index / 4)
    page.upload(tmp_path / "walk.mp4")
    page.wait_for(f"{len(images)} frames")
    widths = [96, 3 * 96]
    assert awaited(page.videos, widths) == widths


def test_two_runs_beside_each_other(page: Page, keep_picture: Any) -> None:
    page.driver.set_window_size(1440, 1090)
    page.wait_for("sample.png")
    assert awaited(page.pictures, 2) == 2
    page.choose("other", "earlier")
    page.wait_for("earlier · found in")
    assert awaited(page.pictures, 3) == 3
    keep_picture("app-compare.jpg")


@pytest.mark.parametrize("width", [1440, 700])
def test_it_fits_the_window_and_asks_no_one_else(
    page: Page, address: str, keep_picture: Any, width: int
) -> None:
    page.driver.set_window_size(width, 1160)
    page.wait_for("sample.png")
    assert awaited(page.pictures, 2) == 2
    if width == 1440:
        keep_picture("app.jpg")
    wide, window = page.driver.execute_script(
        "return [document.documentElement.scrollWidth, window.innerWidth]"
    )
    assert wide <= window
    asked = page.driver.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert asked
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
