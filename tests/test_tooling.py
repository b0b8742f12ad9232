"""Setup, demo runner, doctor, benchmarks and CI: what they decide, without installing anything."""

import ast
import importlib.util
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from roilab.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "scripts"


def load_script(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(path.parent))
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def call(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command of Python."""
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, **options)


# The environment of a script that needs the package, which only the installed one has by itself.
WITH_PACKAGE = {**os.environ, "PYTHONPATH": str(ROOT / "project")}


def requirements(text: str) -> list[Requirement]:
    lines = (line.split("--hash")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


class TestPins:
    LOCK = requirements((ROOT / "requirements/lock.txt").read_text(encoding="utf-8"))
    PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def test_every_line_pins_one_version(self) -> None:
        for pin in self.LOCK:
            (specifier,) = pin.specifier
            assert specifier.operator == "==", pin
        names = [canonicalize_name(pin.name) for pin in self.LOCK]
        assert len(names) == len(set(names))

    def test_every_range_holds_its_pin(self) -> None:
        pins = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in self.LOCK}
        extras = self.PROJECT["optional-dependencies"].values()
        for requirement in map(Requirement, sum(extras, self.PROJECT["dependencies"])):
            if requirement.name == self.PROJECT["name"]:
                continue  # an extra that takes others in
            version = pins[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), requirement

    def test_dev_has_every_extra(self) -> None:
        extras = self.PROJECT["optional-dependencies"]
        (own,) = (r for r in map(Requirement, extras["dev"]) if r.name == self.PROJECT["name"])
        assert own.extras == extras.keys() - {"dev"}

    def test_no_remedy_asks_the_index_for_roilab(self) -> None:
        # It has none under this name.
        places = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        places += [*SCRIPTS.rglob("*.py"), *(ROOT / "project").rglob("*.py")]
        pattern = re.compile(r"pip install ['\"]?roilab")
        assert not [path for path in places if pattern.search(path.read_text(encoding="utf-8"))]

    def test_setuptools_has_what_the_model_zoo_imports(self, tmp_path: Path) -> None:
        """And warns nobody of it; not as `python -c`, which shows what libraries do not."""
        (tmp_path / "module.py").write_text("import pkg_resources")
        done = call("-c", "import module", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")

    def test_detectron2_has_a_hash(self) -> None:
        text = (ROOT / "requirements/detectron2.txt").read_text(encoding="utf-8")
        (pin,) = requirements(text)
        assert next(iter(pin.specifier)).operator == "=="
        assert len(text.rpartition("--hash=sha256:")[2].strip()) == 64


class TestSetup:
    @pytest.fixture
    def checkout(self, tmp_path: Path) -> Path:
        """What setup needs, with a .venv whose Python is this one."""
        (tmp_path / "scripts").mkdir()
        shutil.copy(SCRIPTS / "setup_env.py", tmp_path / "scripts")
        shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        bin_folder = tmp_path / ".venv" / "bin"
        bin_folder.mkdir(parents=True)
        (bin_folder / "python").symlink_to(sys.executable)
        return tmp_path

    @pytest.fixture
    def setup(self, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        return load_script(checkout / "scripts/setup_env.py", monkeypatch)

    @pytest.fixture
    def stamp(self, setup: ModuleType) -> Path:
        """The file that says what is installed, as setup leaves it."""
        Path(setup.STAMP).write_text(setup.fingerprint(str(sys.version_info[:2])))
        return Path(setup.STAMP)

    def test_second_run_does_nothing(self, checkout: Path, stamp: Path) -> None:
        before = sorted(checkout.rglob("*"))
        done = call("-B", checkout / "scripts/setup_env.py", check=True, timeout=20)
        assert (done.stdout, done.stderr) == ("", "")
        assert sorted(checkout.rglob("*")) == before

    @pytest.mark.parametrize(
        "changed",
        [
            *(".venv/bin/python", "stamp", "Python", "pyproject.toml"),
            *("requirements/lock.txt", "requirements/detectron2.txt"),
        ],
    )
    def test_a_change_is_installed_again(
        self, checkout: Path, setup: ModuleType, stamp: Path, changed: str
    ) -> None:
        assert setup.is_installed()
        if changed == "Python":
            stamp.write_text(setup.fingerprint("(3, 99)"))
        elif changed in ("stamp", ".venv/bin/python"):
            (stamp if changed == "stamp" else checkout / changed).unlink()
        else:
            with (checkout / changed).open("a") as pins:
                pins.write("more==1\n")
        assert not setup.is_installed()

    @pytest.mark.parametrize(
        ("output", "said"),
        [
            (
                "WARNING: Retrying after connection broken by 'X'\nERROR: No matching distribution",
                "the package registry cannot be reached",
            ),
            (
                "ERROR: Could not install packages: [Errno 28] No space left on device",
                "the disk is full",
            ),
            (
                "Looking in indexes\nERROR: No matching distribution found for torch==2.14.1\nhint",
                "pip failed: No matching distribution found for torch==2.14.1",
            ),
            ("", "pip failed: no reason given"),
        ],
    )
    def test_one_line_of_pip(self, setup: ModuleType, output: str, said: str) -> None:
        message = setup.explain_pip(output)
        assert message.startswith(said)
        assert "\n" not in message

    @pytest.fixture
    def full(self, setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(setup, "SPACE_NEEDED", 1 << 70)

    def test_disk_too_small(
        self, checkout: Path, setup: ModuleType, full: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.rmtree(checkout / ".venv")
        assert setup.main() == 1
        error = capsys.readouterr().err
        assert error.startswith("error: the disk is full")
        assert error.count("\n") == 1
        assert not (checkout / ".venv").exists()

    def test_a_folder_that_is_no_venv_is_not_installed_into(
        self, checkout: Path, setup: ModuleType, full: None
    ) -> None:
        # Without pyvenv.cfg, its pip would install into the interpreter that it links to.
        base = Path(os.path.realpath(sys.executable))
        (checkout / ".venv/bin/python").unlink()
        (checkout / ".venv/bin/python").symlink_to(base)
        with pytest.raises(setup.SetupError, match="the disk is full"):  # before creating one
            setup.make_venv()

    def test_old_python_can_parse_it(self) -> None:
        source = (SCRIPTS / "setup_env.py").read_text(encoding="utf-8")
        assert ast.parse(source, feature_version=(3, 6)).body

    @pytest.mark.parametrize("script", ["setup_env.py", "doctor.py"])
    def test_old_python_is_named(
        self,
        script: str,
        checkout: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        for path in ("scripts/doctor.py", "project/roilab/cli/doctor.py"):
            (checkout / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, checkout / path)
        monkeypatch.setattr(sys, "version_info", (3, 9, 18, "final", 0))
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(checkout / "scripts" / script), run_name="__main__")
        said = f"{capsys.readouterr().out}{stopped.value}"
        assert stopped.value.code not in (0, None)
        assert "3.11 or newer" in said
        assert "3.9" in said


# The package `roilab` of a checkout, which only notes how it is called.
STUB = """
import pathlib, sys
with open("calls", "a") as calls:
    print(*sys.argv[1:], file=calls)
if sys.argv[1] == "train":
    run = pathlib.Path("outputs/demo")
    run.mkdir(parents=True, exist_ok=True)
    (run / "last_checkpoint").write_text("model_final.pth")
    sys.exit(pathlib.Path("broken").exists() and 2)
"""


class TestQuickstart:
    @pytest.fixture
    def checkout(self, tmp_path: Path) -> Path:
        (tmp_path / "scripts").mkdir()
        shutil.copy(SCRIPTS / "quickstart.py", tmp_path / "scripts")
        (tmp_path / "roilab").mkdir()
        (tmp_path / "roilab/__init__.py").touch()
        (tmp_path / "roilab/__main__.py").write_text(STUB)
        return tmp_path

    def run(self, checkout: Path) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        (checkout / "calls").unlink(missing_ok=True)
        done = call(checkout / "scripts/quickstart.py")
        return done, (checkout / "calls").read_text().splitlines()

    DATA = "figures --out datasets/figures"
    TRAIN = "train --config-file configs/figures_mask_keypoint.py"
    LAST = (
        "evaluate --run outputs/demo",
        "predict --run outputs/demo --input datasets/figures/val --output outputs/demo/pictures",
    )

    def test_all_steps_and_then_what_is_left(self, checkout: Path) -> None:
        done, calls = self.run(checkout)
        assert done.returncode == 0
        assert calls == [self.DATA, f"{self.TRAIN} train.output_dir=outputs/demo", *self.LAST]
        done, calls = self.run(checkout)
        assert done.returncode == 0
        assert calls == [self.DATA, *self.LAST]
        assert "rm -r outputs/demo" in done.stdout
        assert "outputs/demo/pictures" in done.stdout

    def test_interrupted_training_continues(self, checkout: Path) -> None:
        (checkout / "outputs/demo").mkdir(parents=True)
        (checkout / "outputs/demo/last_checkpoint").write_text("model_0000099.pth")
        (checkout / "outputs/demo/results.json").write_text("{}")  # of the unfinished model
        _, calls = self.run(checkout)
        assert calls[1] == f"{self.TRAIN} --resume train.output_dir=outputs/demo"

    def test_a_failure_ends_it(self, checkout: Path) -> None:
        (checkout / "broken").touch()
        done, calls = self.run(checkout)
        assert done.returncode == 2
        assert [call.split()[0] for call in calls] == ["figures", "train"]
        assert "Traceback" not in done.stderr


class TestDoctor:
    def test_nothing_installed(self) -> None:
        done = call("-E", "-S", SCRIPTS / "doctor.py")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        for name in ("torch", "detectron2", "numpy"):
            assert f"{name:<18}missing" in done.stdout
        assert done.stdout.count("remedy: ") >= 10

    def test_a_reader_may_stop_early(self) -> None:
        command = f"{sys.executable} -E -S {SCRIPTS / 'doctor.py'} | head -1"
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
        assert (done.stdout.count("\n"), done.stderr) == (1, "")

    def test_everything_installed(self) -> None:
        done = call(SCRIPTS / "doctor.py", env=WITH_PACKAGE)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        assert "poolers and lazy configs work" in done.stdout

    def test_wrong_ops_have_a_remedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch
        import torchvision

        doctor = importlib.import_module("roilab.cli.doctor")
        monkeypatch.setattr(torchvision.ops, "nms", lambda *_: torch.tensor([0, 1]))
        with pytest.raises(doctor.Broken, match="torch 2"):
            doctor.torchvision_ops()


class TestBench:
    @pytest.fixture
    def bench(self, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        return load_script(SCRIPTS / "bench.py", monkeypatch)

    def test_ours_and_reference_take_turns(self, bench: ModuleType) -> None:
        calls: list[str] = []
        ours, reference = (lambda: calls.append("o")), (lambda: calls.append("r"))
        bench.measure(bench.Benchmark("r", ours, reference, rounds=4))
        assert "".join(calls) == "or" + "orro" * 2

    def test_work_unit_and_bar(self, bench: ModuleType) -> None:
        settings = {"work": (10, 2), "unit": "bytes", "bar": (0.5, 0.8)}
        benchmark = bench.Benchmark("r", lambda: 30.0, lambda: 8.0, **settings)
        result = bench.measure(benchmark)
        assert (result["ours"], result["reference"], result["ratio"]) == (3.0, 4.0, 0.75)
        assert result["bar_met"] == "true"
        slow = bench.measure(replace(benchmark, bar=(0, 0.5)))
        assert slow["bar_met"] == "false"
        assert "NOT within" in bench.row("x", slow)

    def test_median_and_ratio(self, bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        took = {"ours": iter([1.0, 9.0, 2.0]), "reference": iter([4.0, 4.0, 100.0])}
        monkeypatch.setattr("benchmarks.seconds", lambda work: next(took[work()]))
        result = bench.measure(bench.Benchmark("r", lambda: "ours", lambda: "reference", rounds=3))
        numbers = {"ours": 2.0, "reference": 4.0, "ratio": 0.5}
        assert result == {**numbers, "unit": "s", "reference_name": "r"}

    # Sizes with which each benchmark is quick.
    SMALL: ClassVar[dict[str, dict[str, object]]] = {
        "cpu_kernels": {"convolutions": ((64, 1, 32),), "norms": ((32, 2, 96),)},
        "cpu_parts": {"batch": 1, "size": 96, "side": 96},
        "eval_bbox": {"images": 4},
        "eval_keypoints": {"images": 4},
        "evaluate": {"images": 4},
        **{
            f"infer_{model}_{way}": {"side": 96}
            for model in ("keypoint", "mask")
            for way in ("exact_stock", "fast_stock", "fast_torchvision", "memory")
        },
        "keypoint_decode": {"detections": 3},
        "part_costs": {"regions": 2},
        "roi_align_max": {"channels": 4, "boxes": 8, "size": (128, 128)},
        "roi_align_train": {"channels": 4, "regions": ((8, 7), (2, 14)), "side": 128},
        "roi_warp": {"channels": 4, "boxes": 8, "size": (128, 128)},
        "load_dataset": {"images": 2},
        "open_run": {"config": "figures_mask.py"},
        "save_checkpoint": {"config": "figures_mask.py"},
        "train_figures": {"batch": 1, "size": 96},
        "train_keypoint_r50": {"batch": 1, "size": 96},
        "via_image_size": {"images": 2},
        "via_linearity": {"large": 4, "small": 2},
        "via_memory": {"images": 500},  # fewer fit into what Python already holds
        "via_read": {"images": 2},
    }

    def test_all_are_tried(self, bench: ModuleType) -> None:
        assert self.SMALL.keys() == bench.MEANINGS.keys()

    # Their parts are those of other benchmarks: ours, the references, memory.
    PUT_TOGETHER = frozenset(
        ("infer_keypoint_memory", "infer_keypoint_fast_stock", "infer_mask_fast_stock")
    )

    @pytest.mark.parametrize("name", sorted(SMALL.keys() - PUT_TOGETHER))
    def test_both_ways_run(
        self, bench: ModuleType, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # via_memory tries a new process; each of these would load PyTorch again.
        here = lambda function, *arguments: function(*arguments)  # noqa: E731
        monkeypatch.setattr("benchmarks.inference.in_new_process", here)
        benchmark = bench.load(name, tmp_path, **self.SMALL[name])
        results = benchmark.ours(), benchmark.reference()
        assert benchmark.unit == "s" or min(results) > 0

    def test_unlike_work_is_refused(
        self, bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module = importlib.import_module("benchmarks.via")
        monkeypatch.setattr(module, "CLASSES", ["b", "a"])
        with pytest.raises(UserError, match="differ in category_id"):
            bench.load("load_dataset", tmp_path, images=2)

    def test_unlike_ap_is_refused(
        self, bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module = importlib.import_module("benchmarks.evaluation")
        right = module.evaluate_model

        def wrong(*arguments: object) -> Any:
            evaluation = right(*arguments)
            boxes = {**evaluation.results["bbox"], "AP50": 99.0}
            return replace(evaluation, results={"bbox": boxes})

        monkeypatch.setattr(module, "evaluate_model", wrong)
        with pytest.raises(UserError, match="differ in AP50"):
            bench.load("evaluate", tmp_path, images=4)

    def test_unknown_name(self, bench: ModuleType) -> None:
        done = call(SCRIPTS / "bench.py", "--only", "nothing", env=WITH_PACKAGE)
        assert done.returncode == 2
        assert "'nothing'" in done.stderr
        listed = dict(line.split(maxsplit=1) for line in done.stderr.splitlines()[1:])
        assert listed == bench.MEANINGS

    def test_writes_what_it_measured(
        self,
        bench: ModuleType,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(bench, "ROOT", tmp_path)
        monkeypatch.setattr(bench, "OUTPUT", tmp_path / "outputs/bench.json")
        monkeypatch.setattr(sys, "argv", ["bench.py", "--only", "via_read"])
        module = importlib.import_module("benchmarks.via")
        monkeypatch.setattr(module, "via_read", partial(module.via_read, images=2))
        assert bench.main() == 0
        written = json.loads((tmp_path / "outputs/bench.json").read_text())
        assert list(written) == ["via_read"]
        assert written["via_read"]["reference_name"] == "json.loads"
        assert "via_read" in capsys.readouterr().out


class TestProcessors:
    """scripts/test_processors.py with a command that prints its settings."""

    SHOW = "import os; print(os.environ['ATEN_CPU_CAPABILITY'], os.environ['ONEDNN_MAX_CPU_ISA'])"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return call(SCRIPTS / "test_processors.py", *arguments)

    @pytest.fixture
    def processors(self, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        return load_script(SCRIPTS / "test_processors.py", monkeypatch)

    def test_each_level_of_this_processor(self, processors: ModuleType) -> None:
        levels = processors.levels_here()
        done = self.run(sys.executable, "-c", self.SHOW)
        assert done.returncode == 0
        shown = [line for line in done.stdout.splitlines() if line and "=" not in line]
        assert shown == [f"{level.aten} {level.onednn}" for level in levels]
        assert done.stdout.count("passed") == len(levels)
        assert shown[0] == "default SSE41"
        lowest = self.run("--levels", "lowest", sys.executable, "-c", self.SHOW)
        assert lowest.stdout.count("passed") == 1

    @pytest.mark.parametrize(
        ("has", "levels"),
        [
            ((), ["default"]),
            (("_is_avx2_supported",), ["default", "avx2"]),
            (("_is_avx2_supported", "_is_avx512_supported"), ["default", "avx2", "avx512"]),
        ],
    )
    def test_levels_of_other_processors(
        self,
        has: tuple[str, ...],
        levels: list[str],
        processors: ModuleType,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for probe in (level.probe for level in processors.LEVELS[1:]):
            monkeypatch.setattr(f"torch.cpu.{probe}", lambda it=probe: it in has, raising=False)
        assert [level.aten for level in processors.levels_here()] == levels
        assert [level.aten for level in processors.levels_here("lowest")] == ["default"]

    def test_a_failure_at_one_level_is_the_status(self) -> None:
        fails = "import os, sys; sys.exit(os.environ['ATEN_CPU_CAPABILITY'] == 'default')"
        done = self.run(sys.executable, "-c", fails)
        assert done.returncode == 1
        assert "FAILED (1)  ATEN_CPU_CAPABILITY=default" in done.stdout

    def test_torch_obeys(self) -> None:
        show = "import torch; print(torch.backends.cpu.get_cpu_capability())"
        done = self.run("--levels", "lowest", sys.executable, "-c", show)
        assert "DEFAULT\n" in done.stdout


class TestContinuousIntegration:
    GREEN = "echo 10 passed, 2 skipped in 1.00s"
    PROGRAMS = ("chromium", "chromedriver", "slurmctld", "munged")
    TOOLS = (
        *("bash", "dirname", "echo", "false", "grep", "make"),
        *("mktemp", "rm", "sh", "tee", "true"),
    )

    def run(
        self, folder: Path, programs: tuple[str, ...] = PROGRAMS, user: int = 0, **failing: str
    ) -> int:
        """The status of .ci/run in a checkout where all commands of make pass but these.

        Args:
            programs: those that are installed; apt-get writes what it is asked into a file.
            user: the number of who runs it; 0 is root.
        """
        (folder / ".ci").mkdir()
        shutil.copy(ROOT / ".ci/run", folder / ".ci/run")
        names = ("lint", "test", "test_browser", "test_slurm")
        recipes = dict.fromkeys(names, self.GREEN) | failing
        asks = f"echo $(LEVELS) $(ARGS) >> asked; {failing.get('test_processors', self.GREEN)}"
        recipes["test_processors"] = asks
        rules = [f"{name.replace('_', '-')}:\n\t@{line}\n" for name, line in recipes.items()]
        (folder / "Makefile").write_text("".join(rules))
        tools = folder / "tools"
        tools.mkdir()
        for name in self.TOOLS:
            (tools / name).symlink_to(shutil.which(name) or name)
        scripts = dict.fromkeys(programs, "") | {"id": f"echo {user}"}
        scripts["apt-get"] = f'echo "$*" >> {folder}/installed'
        for name, script in scripts.items():
            (tools / name).write_text(f"#!/bin/sh\n{script}\n")
            (tools / name).chmod(0o755)
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        command = [str(tools / "bash"), str(folder / ".ci/run")]
        environment = {"PATH": str(tools), "TMPDIR": str(folder)}
        return subprocess.run(
            command, cwd=elsewhere, capture_output=True, stdin=subprocess.DEVNULL, env=environment
        ).returncode

    def test_green(self, tmp_path: Path) -> None:
        assert self.run(tmp_path) == 0
        assert not (tmp_path / "installed").exists()
        asked = (tmp_path / "asked").read_text()
        assert asked == "lowest tests/export tests/modeling tests/inference\n"

    @pytest.mark.parametrize("command", ["test", "test_processors", "test_browser", "test_slurm"])
    @pytest.mark.parametrize(
        "recipe",
        [
            "echo no tests ran in 0.01s; exit 5",
            "echo no tests ran in 0.01s",
            "echo 3 skipped in 0.01s",
            "echo 1 failed, 9 passed in 1.00s; exit 1",
        ],
    )
    def test_red(self, tmp_path: Path, command: str, recipe: str) -> None:
        assert self.run(tmp_path, **{command: recipe}) != 0

    def test_lint_counts(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, lint="false") != 0

    @pytest.mark.parametrize(
        ("missing", "packages"),
        [
            (PROGRAMS, ["chromium chromium-driver", "slurm-wlm munge"]),
            (("chromium",), ["chromium chromium-driver"]),
            (("chromedriver",), ["chromium chromium-driver"]),
            (("slurmctld",), ["slurm-wlm munge"]),
            (("munged",), ["slurm-wlm munge"]),
        ],
    )
    def test_what_is_missing_is_installed(
        self, tmp_path: Path, missing: tuple[str, ...], packages: list[str]
    ) -> None:
        there = tuple(name for name in self.PROGRAMS if name not in missing)
        assert self.run(tmp_path, programs=there) == 0
        asked = (tmp_path / "installed").read_text().splitlines()
        installs = [line for line in asked if "install" in line]
        assert len(installs) == len(packages)
        assert all(line.endswith(names) for line, names in zip(installs, packages, strict=True))

    def test_slurm_is_for_root(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, test_slurm="false", user=1000) == 0
