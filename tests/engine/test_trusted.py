"""Names in configs that are data: those that are trusted, those that the user allows, and how."""

import json
import re
import shlex
import shutil
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from detectron2.utils.registry import locate

from roilab.engine import config, trusted
from roilab.engine.build_model import build_model
from roilab.engine.checkpoint import save_atomically
from roilab.engine.load_run import load_run
from roilab.engine.run_folder import Run, open_run
from roilab.engine.run_record import accept
from roilab.engine.trusted import MAX_BYTES, MAX_DEPTH, read_yaml
from roilab.errors import UserError
from roilab.inference import Predictor
from roilab.sweep import load_sweep as load_sweep

from .hostile import LOCATE, call
from .running import shapes, trained

CONFIG = "configs/figures_mask_keypoint.py"
SIZES = ["data.num_classes=2", "data.num_keypoints=2"]
# Of the tables of docs/heads.md: the overrides of each row that has some.
LINES = [
    " ".join(cells)
    for row in Path("docs/heads.md").read_text(encoding="utf-8").splitlines()
    if row.startswith("|") and (cells := re.findall(r"`((?:model|pooler)\.[^`]*=[^`]+)`", row))
]
MANY = 2000  # values, for a test
# By the commit that wrote them; without weights, which are large.
OLD = {name: Path(__file__).with_name(f"run_{name}") for name in ("3c816bb", "fe98d7c")}
PARTS = """
import os, subprocess
from subprocess import run
from roilab.modeling import MaskHead

class Head(MaskHead):
    pass

def head(**arguments):
    return Head(**arguments)
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the user's names, which is not there yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "roilab" / "trusted.json"


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the user's own."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "my_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path / "own")
    yield "my_parts"
    sys.modules.pop("my_parts", None)


def names_of(data: Any) -> list[str]:
    return [str(target.value) for target in trusted.find_refused(data)]


def test_the_list_is_sorted_and_all_of_it_is_there() -> None:
    lines = Path(trusted.__file__).with_name("trusted_names.txt").read_text().splitlines()
    assert lines == sorted(set(lines))
    for name in lines:
        assert callable(locate(name)), name
        assert name.startswith(("detectron2.", "fvcore.", "roilab.", "torch.", "torchvision."))


@pytest.mark.parametrize(
    "path", sorted(Path("configs/ablations").glob("*.py")), ids=lambda path: path.stem
)
def test_a_run_of_every_shipped_sweep_names_what_is_on_the_list(path: Path) -> None:
    for arm in load_sweep(path).arms:
        for text in arm.overrides:
            key, _, value = text.partition("=")
            if key.endswith("_target_"):
                assert value in trusted.listed_names()


@pytest.mark.parametrize(
    ("path", "overrides"),
    [
        *(pytest.param(path, [], id=path.stem) for path in sorted(Path("configs").glob("*.py"))),
        *(pytest.param(CONFIG, shlex.split(line), id=line) for line in LINES),
    ],
)
def test_a_run_of_every_shipped_config_and_part_opens(path, overrides: list[str], tmp_path) -> None:
    """Also with each pooler, head and decoder of docs/heads.md; the model takes no memory."""
    cfg = config.load_config(path, [*SIZES, *overrides])
    config.save_config(cfg, tmp_path / "config.yaml")
    again = config.load_config(tmp_path / "config.yaml")
    with torch.device("meta"):
        assert list(config.build(again.model, "model").parameters())
    assert config.to_plain_data(again) == config.to_plain_data(cfg)


def test_parts_by_their_short_names_are_on_the_list() -> None:
    """As docs/heads.md and the command line have them, and as `save` writes them."""
    from roilab import modeling

    for name, part in vars(modeling).items():
        if callable(part):
            assert f"roilab.modeling.{name}" in trusted.listed_names()
            assert f"{part.__module__}.{name}" in trusted.listed_names()


@pytest.mark.parametrize("commit", OLD)
def test_a_run_of_an_earlier_version_opens(commit: str, tmp_path: Path, script) -> None:
    folder = tmp_path / "run"
    shutil.copytree(OLD[commit], folder)
    assert LOCATE in (folder / "config.yaml").read_text()
    model = build_model(config.load_config(folder / "config.yaml", ["train.device=cpu"]))
    save_atomically({"model": model.state_dict()}, folder / "model_final.pth")
    cfg, again = load_run(open_run(folder), ["train.device=cpu"])
    assert str(again) == str(model)
    assert cfg.model.roi_heads.num_classes == 2
    said = script("doctor", "--run", folder).stdout
    kind = "no damage found, 6 without a digest" if commit == "3c816bb" else "all sound"
    assert said.endswith(f"{kind}\n")


@pytest.mark.parametrize(
    "node",
    [
        call("torch.nn.Module.__init__.__globals__"),
        *map(call, ("torch.nn.Module.__subclasses__", "torch.nn.Identity.__class__", "", "os")),
        *map(call, ("roilab.engine.config.sys.exit", 3, None, ["os.system"], "torch..nn.Identity")),
        *map(call, (" torch.nn.Identity", "torch.nn.Identity\n")),
        call("torch.nn.Ident\N{LATIN SMALL LETTER DOTLESS I}ty"),
        call(LOCATE, name="os.system"),
        call(LOCATE, name=["torch.nn.Identity"]),
        call(LOCATE),
        call(LOCATE, name="torch.nn.Identity", other=1),
        call(LOCATE, name=LOCATE),
        call("detectron2.data.DatasetCatalog.get", name="x"),
        call("detectron2.modeling.MMDetBackbone", backbone={}),
        call("roilab.data.dataset.load_dataset", files="/etc/passwd"),
        call("torch.nn.Identity", register="evil.py"),
        {"text": "${oc.env:HOME}"},
        {"text": "${other}", "other": 1},
        {"text": "\\\\${oc.env:HOME}"},
    ],
    ids=str,
)
def test_what_looks_harmless_is_refused_where_it_stands(node: dict[str, Any]) -> None:
    assert not names_of({"model": {"a": call("torch.nn.Identity"), "text": "\\${oc.env:HOME}"}})
    with pytest.raises(UserError) as error:
        trusted.refuse_untrusted({"model": {"list": [{"deep": node}]}}, "config.yaml")
    assert str(error.value.key).startswith("model.list.0.deep")
    assert error.value.remedy


def test_settings_of_weights_cannot_make_a_call_of_harmless_parts(tiny_run: Run, tmp_path) -> None:
    data = yaml.safe_load(tiny_run.config_file.read_text())
    stages = data["model"]["backbone"]["bottom_up"]["stages"]
    assert stages[0]["block_class"]["_target_"] == LOCATE
    data["model"]["backbone"]["norm"] = call(LOCATE, name="torch.nn.Identity")
    settings = {"model": {"backbone": {"norm": {"name": "os.getcwd"}}}}
    data["weights"] = {"evil": {"file": "x.pth", "settings": settings}}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(data))
    config.load_config(path)
    with pytest.raises(UserError, match=r"os\.getcwd"):
        config.load_config(path, ["train.init_checkpoint=evil"])


def test_a_part_of_the_users_own_is_allowed_by_name(
    tiny_run: Run, tmp_path: Path, settings: Path, parts: str, script: Callable[..., Any]
) -> None:
    folder = shutil.copytree(tiny_run.folder, tmp_path / "run")
    text = (folder / "config.yaml").read_text()
    old = "roilab.modeling.mask_heads.MaskHead"
    assert old in text
    (folder / "config.yaml").write_text(text.replace(old, f"{parts}.Head"))
    accept(folder, ["config.yaml"])
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    line = ("config", "show", folder, "--key", "model.roi_heads.mask_head._target_")
    first = script(*line, status=2)
    assert parts not in sys.modules  # it is refused before it is imported
    remedy = first.stderr.rpartition("add to the command: ")[2].split()
    assert remedy == ["--trust", f"{parts}.Head"]
    assert script(*line, *remedy).stdout == f"{parts}.Head\n"
    assert json.loads(settings.read_text()) == {"trusted": [f"{parts}.Head"]}
    script(*line)
    assert Predictor.from_run(open_run(folder)).model is not None
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_module_stands_for_what_it_defines(settings: Path, parts: str) -> None:
    assert trusted.allow([parts]) == [parts]
    assert trusted.allow([parts]) == []
    for name in ("Head", "head"):
        assert not names_of(call(f"{parts}.{name}"))
    for name in ("run", "os.system", "subprocess.run", "Head.__init__", "Head.__subclasses__"):
        assert names_of(call(f"{parts}.{name}")) == [f"{parts}.{name}"]
    assert names_of(call(f"{parts}_of_another.Head"))


def test_several_names_are_allowed_at_once(settings: Path, tmp_path: Path) -> None:
    file = tmp_path / "registers.py"
    file.touch()
    data = {"a": call("größe.Köpfe.Kopf"), "data": {"val": call("two.b", register=str(file))}}
    with pytest.raises(UserError) as error:
        trusted.refuse_untrusted(data, "config.yaml")
    names = json.loads(str(error.value.remedy).rpartition("command: trust=")[2])
    assert names == ["größe.Köpfe.Kopf", "two.b", str(file)]
    assert trusted.allow(names) == names
    trusted.refuse_untrusted(data, "config.yaml")


def test_a_training_allows_the_users_own_parts_and_no_others(settings: Path, parts: str) -> None:
    head = "model.roi_heads.mask_head._target_"
    cfg = config.load_config(CONFIG, [f"{head}={parts}.Head"])
    cfg.lr_multiplier._target_ = "functools.partial"
    allowed, others = trusted.allow_own_parts(config.to_plain_data(cfg))
    assert f"{parts}.Head" in allowed
    assert 'trust=["functools.partial"]' in others
    assert json.loads(settings.read_text()) == {"trusted": [f"{parts}.Head"]}
    (others,) = trusted.allow_own_parts(config.to_plain_data(cfg))


def test_the_run_of_a_training_with_own_parts_opens(settings: Path, parts: str, tmp_path) -> None:
    run = tmp_path / "run"
    head = f"model.roi_heads.mask_head._target_={parts}.Head"
    trained(shapes(tmp_path / "data", train=2, val=1), run, "train.max_iter=1", head)
    _, model = load_run(open_run(run))
    assert type(model.roi_heads.mask_head).__module__ == parts
    settings.unlink()  # another user's
    with pytest.raises(UserError, match=rf'trust=\["{parts}.Head"\]'):
        load_run(open_run(run))


def test_a_training_goes_on_where_settings_cannot_be_written(settings: Path, parts: str) -> None:
    settings.parent.parent.touch()  # a file in the place of a folder
    (note,) = trusted.allow_own_parts({"a": call(f"{parts}.Head")})
    assert str(settings) in note


@pytest.mark.parametrize("name", ["", "a b", "a;b.c", "a..b", "é.", "no_such_file.py", "-x"])
def test_what_is_no_name_cannot_be_trusted(name: str, settings: Path) -> None:
    with pytest.raises(UserError, match="trust"):
        trusted.allow([name])
    assert not settings.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"trusted": 3}', '{"trusted": [1]}', "\xff"])
def test_damaged_settings_are_named(text: str, settings: Path) -> None:
    settings.parent.mkdir(parents=True)
    settings.write_bytes(text.encode("latin1"))
    with pytest.raises(UserError, match="cannot be read") as error:
        trusted.refuse_untrusted({"a": call("mine.a")}, "config.yaml")
    assert error.value.file == settings


def laughs(levels: int, joined: str) -> str:
    """Each level holds the one before it ten times."""
    lines = ["a0: &a0 {x: 1, y: 2}"]
    for level in range(1, levels):
        items = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} {joined.format(items)}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        laughs(12, "[{}]"),
        laughs(12, "{{<<: [{}]}}"),
        "a: &a [*a]",
        "a: &a {b: *a}",
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        *("[" * 100_000, "{a: " * 100_000, "- " * 10_000 + "x", "[" + "1," * MANY + "1]"),
        *("a: " + "x" * MAX_BYTES, "a: " + "9" * 5000, "a: \x00", "a: *nothing", "a: 2001-99-99"),
        *("a: !!str x", "a: ! x", "a: !!python/name:os.system", "a: !!binary aGVsbG8="),
        *("? {a: b}\n: c", "%TAG ! tag:evil:\n--- !x a", "a: 1\n---\nb: 2"),
    ],
    ids=range(21),
)
def test_yaml_is_plain_and_bounded(text: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(trusted, "MAX_VALUES", MANY)
    path = tmp_path / "config.yaml"
    path.write_text(text)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="not a saved config"):
            read_yaml(path)
        assert tracemalloc.get_traced_memory()[1] < 500e6
    finally:
        tracemalloc.stop()


def test_yaml_with_aliases_and_merges_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &a {x: [1, .5, null, yes, text]}\nb: *a\nc: {<<: *a, y: 2}\n")
    assert read_yaml(path) == yaml.safe_load(path.read_text())
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        read_yaml(path)


def test_a_sweep_is_no_data(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("sweep: {base: evil.py, arms: {a: {}}}\n")
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')")
    with pytest.raises(UserError, match="is a Python file"):
        load_sweep(path)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("evaluates", [False, True])
def test_paths_of_a_run_are_not_opened_where_nothing_needs_them(
    evaluates: bool, tiny_run: Run, tmp_path: Path, script: Callable[..., Any]
) -> None:
    """Annotations, images, skeleton and initial weights; an evaluation needs those of `val`."""
    decoy = tmp_path / "decoy"
    data = yaml.safe_load(tiny_run.config_file.read_text())
    for split in ("train",) if evaluates else ("train", "val"):
        data["data"][split] |= {"files": [f"{decoy}.json"], "images": str(decoy)}
        data["data"][split]["skeleton"] = f"{decoy}.skeleton"
    data["data"]["skeleton"] = f"{decoy}.skeleton"
    data["train"] |= {"init_checkpoint": f"{decoy}.pth", "output_dir": str(decoy)}
    folder = shutil.copytree(tiny_run.folder, tmp_path / "run")
    (folder / "config.yaml").write_text(yaml.safe_dump(data))
    accept(folder, ["config.yaml"])
    opened: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in ("open", "os.listdir", "os.scandir", "socket.connect"):
            opened.append(str(arguments[0]))

    sys.addaudithook(watch)
    if evaluates:
        script("evaluate", "--run", folder, "--output", tmp_path / "results.json")
    else:
        Predictor.from_run(open_run(folder))
    watching = False
    assert any(path.endswith("config.yaml") for path in opened)
    assert not [path for path in opened if "decoy" in path]
