"""The package as pip installs it, away from the checkout."""

import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "train.max_iter=2",
    "train.device=cpu",
    "train.output_dir=run",
    "dataloader.train.total_batch_size=1",
    "dataloader.train.num_workers=0",
    "dataloader.test.num_workers=0",
    "model.roi_heads.mask_head.conv_dims=[32]",
)


def call(folder: Path, *command: str | Path) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, env={"PATH": ""}
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def test_all_packages_are_in_the_wheel() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, configs = ROOT / "project", ROOT / "configs"
    packages = {path.parent.relative_to(project) for path in project.rglob("__init__.py")}
    packages |= {"roilab" / path.parent.relative_to(ROOT) for path in configs.rglob("*.py")}
    names = sorted(".".join(path.parts) for path in packages)
    assert sorted(listed["tool"]["setuptools"]["packages"]) == names


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The programs of an environment with the wheel and the packages of this one."""
    source = tmp_path / "source"
    for name in ("project", "configs"):
        hidden = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, source / name, ignore=hidden)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = ["wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", tmp_path, source]
    call(tmp_path, *pip, *build)
    (wheel,) = tmp_path.glob("*.whl")
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    call(tmp_path, *pip, "--python", python, "install", "--no-deps", "--no-index", wheel)
    site = call(tmp_path, python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    # Its own files of links, such as that to the checkout, are not followed.
    (Path(site.strip()) / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin"


def test_the_wheel_draws_and_trains(installed: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    where = call(work, installed / "python", "-c", "import roilab; print(roilab.__file__)")
    assert where.startswith(str(installed.parent))
    figures = ("--out", "datasets/figures", "--train", "2", "--val", "1", "--size", "96")
    call(work, installed / "roilab", "figures", *figures)
    said = call(work, installed / "roilab", "train", "--config-file", "figures_mask", *SMALL)
    assert "run folder: run" in said
    assert (work / "run" / "results.json").is_file()
    again = ("evaluate", "--run", "run", "--output", "again.json", "--html", "page.html")
    call(work, installed / "python", "-m", "roilab", *again)
    assert (work / "again.json").read_text() == (work / "run" / "results.json").read_text()
    assert "<h2>COCO AP</h2>" in (work / "page.html").read_text()
