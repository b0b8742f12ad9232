"""scripts/sweep.py with a training that only notes that it was called."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from roilab.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
FAKE = """
import json, pathlib, sys
options = dict(a.split("=", 1) for a in sys.argv if "=" in a)
folder = pathlib.Path(options["train.output_dir"].strip("'"))
with (pathlib.Path(__file__).parent / "calls").open("a") as calls:
    print(folder, file=calls)
if options["pooler.op"] == "roi_pool" and not (folder / "mended").exists():
    sys.exit("a crash")
(folder / "model_final.pth").write_text("")
(folder / "last_checkpoint").write_text("model_final.pth")
(folder / "results.json").write_text(json.dumps({"segm": {"AP": 20 + int(options["train.seed"])}}))
"""


class Sweep:
    """The script among a training that is played."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "scripts").mkdir()
        (folder / "scripts/train.py").write_text(FAKE)
        monkeypatch.syspath_prepend(str(ROOT / "scripts"))
        self.script = load(ROOT / "scripts/sweep.py")
        monkeypatch.setattr(self.script, "ROOT", folder)
        # The handler that it sets would outlive the test.
        monkeypatch.setattr(self.script.signal, "signal", lambda *_: None)
        self.monkeypatch = monkeypatch
        self.folder = folder
        self.output = folder / "out"

    def __call__(self, *arguments: str) -> int:
        base = str(ROOT / "configs/figures_mask.py")
        own = ["sweep.py", "--base", base, "--output", str(self.output)]
        self.monkeypatch.setattr(sys, "argv", [*own, *arguments])
        return self.script.main()

    def calls(self) -> list[str]:
        """The cells that were trained since the last look."""
        path = self.folder / "scripts/calls"
        lines = path.read_text().splitlines() if path.is_file() else []
        path.unlink(missing_ok=True)
        return [str(Path(line).relative_to(self.output)) for line in lines]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("sweep_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    return Sweep(tmp_path, monkeypatch)


def test_a_crash_costs_one_cell_and_is_tried_again(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--arm", "align:pooler.op=roi_align", "--arm", "pool:pooler.op=roi_pool"]
    assert sweep(*arguments, "--seeds", "0,1") == 1
    assert sweep.calls() == ["align/seed_0", "pool/seed_0", "align/seed_1", "pool/seed_1"]
    report = (sweep.output / "report.md").read_text()
    assert "20.5 ± 0.7" in report
    assert report.count("failed: a crash") == 2
    assert report in capsys.readouterr().out
    written = json.loads((sweep.output / "pool/seed_1/cell.json").read_text())
    assert written["arm"] == "pool"
    assert "pooler.op=roi_pool" in written["overrides"]

    for seed in (0, 1):
        (sweep.output / f"pool/seed_{seed}/mended").touch()
    assert sweep(*arguments, "--seeds", "0,1") == 0
    assert sweep.calls() == ["pool/seed_0", "pool/seed_1"]
    assert "4 of 4 runs are done" in (sweep.output / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arm", "a:pooler.op=roi_align", "--arm", "b:poler.op=roi_pool"], "unknown key"),
        (["--arm", "a:pooler.op=roi_align", "--seeds", "0", "no.such=1"], "unknown key"),
        (["--arm", "a:pooler.op=x", "--arm", "a:pooler.op=y"], "same name"),
        (["--arm", "a"], "an arm cannot be read"),
    ],
)
def test_a_mistake_costs_no_training(sweep: Sweep, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        sweep(*arguments)
    assert sweep.calls() == []
    assert not sweep.output.exists()
