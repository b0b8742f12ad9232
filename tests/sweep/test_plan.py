"""From a sweep's file and the command line to trials."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from roilab.engine import config
from roilab.errors import UserError
from roilab.sweep import check_classes_of_metrics, load_sweep, resolve
from roilab.sweep.plan import load_saved_sweep, parse_seeds, plan_trials, save_sweep, select_trials
from roilab.sweep.state import trial_identity

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "configs/figures_mask.py"
SWEEP = '''"""Which pooler,
and why?

The rest.
"""

sweep = dict(
    base="base.py",
    overrides={"train.max_iter": 5},
    arms={"RoI Pool": {"pooler.op": "roi_pool"}, "other": "more/other.py", "plain": {}},
    baseline="plain",
    seeds=[3, 1],
    metrics=["segm/AP"],
    published=dict(source="a paper", rows={"RoI Pool": {"segm/AP": 26.9}}),
)
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pooler.py"
    path.write_text(SWEEP)
    return path


def test_a_file(file: Path) -> None:
    sweep = load_sweep(file)
    assert (sweep.name, sweep.question) == ("pooler", "Which pooler, and why?")
    assert [arm.name for arm in sweep.arms] == ["RoI Pool", "other", "plain"]
    shared = ("train.max_iter=5",)
    overrides = [(*shared, "pooler.op=roi_pool"), shared, shared]
    assert [arm.overrides for arm in sweep.arms] == overrides
    # Paths are read from where the sweep is.
    configs = [file.parent / name for name in ("base.py", "more/other.py", "base.py")]
    assert [Path(arm.config_file).resolve() for arm in sweep.arms] == configs
    assert sweep.arms[0].published == {"segm/AP": 26.9}
    assert sweep.baseline == "plain"


def test_trials_go_seed_by_seed_and_have_a_folder_each(file: Path, tmp_path: Path) -> None:
    trials = plan_trials(load_sweep(file), tmp_path)
    first = [("RoI Pool", 3), ("other", 3), ("plain", 3), ("RoI Pool", 1)]
    assert [(trial.arm.name, trial.seed) for trial in trials[:4]] == first
    assert len({trial.folder for trial in trials}) == 6
    assert trials[0].folder == tmp_path / "RoI_Pool/seed_3"
    assert [trial.seed for trial in select_trials(trials, "RoI*")] == [3, 1]
    listed = plan_trials(load_sweep(file, ["train.freeze=[a],[b]"]), tmp_path)
    assert [trial.seed for trial in select_trials(listed, "plain, freeze=[a]")] == [3, 1]
    with pytest.raises(UserError, match=r"(?s)only.*RoI Pool, other, plain"):
        select_trials(trials, "RoIAlign")


FOLDS = "folds=[{'data.val.files': f'fold_{n}.json', 'data.strict': True} for n in range(2)], seeds"


def test_folds_are_trained_with_each_seed(file: Path, tmp_path: Path) -> None:
    text = SWEEP.replace("seeds", FOLDS)
    file.write_text(text.replace('"other": "more/other.py"', '"other": {"weights_of": "plain"}'))
    sweep = load_sweep(file)
    trials = plan_trials(sweep, tmp_path)
    first = [("RoI Pool", 0, 3), ("other", 0, 3), ("plain", 0, 3), ("RoI Pool", 1, 3)]
    assert [(trial.arm.name, trial.fold, trial.seed) for trial in trials[:4]] == first
    assert len({trial.folder for trial in trials}) == len(trials) == 12
    assert trials[3].folder == tmp_path / "RoI_Pool/fold_1/seed_3"
    assert trials[4].source == tmp_path / "plain/fold_1/seed_3"
    assert trials[3].title == "arm 'RoI Pool', fold 1, seed 3"
    data = ("data.val.files=fold_1.json", "data.strict=true")
    assert trials[3].overrides[2:5] == (*data, "train.seed=3")
    # What a fold holds is part of what a trial is.
    assert trial_identity(trials[0]) != trial_identity(replace(trials[0], fold_overrides=data))
    save_sweep(sweep, "the command", tmp_path / "out")
    assert load_saved_sweep(tmp_path / "out").folds == sweep.folds
    for kept in (sweep.folds[:1], ()):
        with pytest.raises(UserError, match=r"(?s)another sweep.*other folds"):
            save_sweep(replace(sweep, folds=kept), "another", tmp_path / "out")


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ("3", r"sweep\.folds.*a list of dicts"),
        ("[3]", r"sweep\.folds\.0.*a dict"),
        ('[{"data.strict": True}]', "one fold is no cross-validation"),
        ('[{"data.strict": True}, {"data.strict": True}]', "data of its own"),
        ('[{"data.strict": True}, {}]', "data of its own"),
        ('[{"data.strict": True}, {"train.seed": 3}]', "seeds=3"),
    ],
)
def test_mistakes_in_folds(file: Path, folds: str, message: str) -> None:
    file.write_text(SWEEP.replace("seeds", f"folds={folds}, seeds"))
    with pytest.raises(UserError, match=f"(?s){message}"):
        load_sweep(file)


def test_an_unknown_key_of_a_fold_costs_no_training(tmp_path: Path) -> None:
    file = small(tmp_path, a={}, b={"pooler.op": "roi_pool"})
    folds = [{"data.val.files": "a"}, {"data.vall.files": "b"}]
    file.write_text(file.read_text()[:-1] + f", folds={folds})")
    with pytest.raises(UserError, match=r"(?s)unknown key.*data.vall"):
        resolve(load_sweep(file))


def test_several_values_make_arms_of_any_file(file: Path) -> None:
    overrides = ["pooler.op=roi_pool,roi_align", "train.max_iter=7", "train.ema=null,0.9"]
    sweep = load_sweep(BASE, overrides)
    names = [f"op={op}, ema={ema}" for op in ("roi_pool", "roi_align") for ema in ("null", "0.9")]
    assert [arm.name for arm in sweep.arms] == names
    assert sweep.baseline == "op=roi_pool, ema=null"
    own = {"train.max_iter=7", "pooler.op=roi_pool", "train.ema=0.9"}
    assert set(sweep.arms[1].overrides) == own
    several = load_sweep(file, ["train.ema=null,0.9"])
    assert len(several.arms) == 6
    assert several.baseline == "plain, ema=null"
    assert load_sweep(file, ["a=glob(*)"]).arms[0].overrides[-1] == "a=glob(*)"
    assert load_sweep(file, ["dataloader.x=[1,2]"]).arms[2].overrides[-1] == "dataloader.x=[1,2]"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("base=", "bass=", r"sweep\.bass"),
        ('base="base.py"', "base=3", r"sweep\.base"),
        ('    base="base.py",\n', "", r"sweep\.base"),
        ("arms={", "arms=3 or {", r"sweep\.arms"),
        ('{"pooler.op": "roi_pool"}', "7", r"sweep\.arms\.RoI Pool"),
        ('baseline="plain"', 'baseline="p"', "no such arm"),
        ("[3, 1]", "[3, 3]", "different whole numbers"),
        ("[3, 1]", '["a"]', "different whole numbers"),
        ("[3, 1]", "[]", "different whole numbers"),
        ("[3, 1]", "3", "different whole numbers"),
        ('["segm/AP"]', "None", r"sweep\.metrics"),
        ('["segm/AP"]', "[3]", "no such metric"),
        ('["segm/AP"]', "[]", r"sweep\.metrics.*at least one"),
        ("source=", "sauce=", r"sweep\.published\.sauce"),
        ("26.9", '"26.9"', r"sweep\.published\.rows\.RoI Pool"),
        ('"plain": {}', '"plain": {"weights_of": 3}', r"plain\.weights_of"),
        ('"train.max_iter": 5', '"train.seed": 5', "seeds=5"),
        ('"other":', '"plots":', "a folder of the report"),
        ('"other":', '"report.html":', "a folder of the report"),
        ('"other":', '"Plain":', "different names"),
        ('["segm/AP"]', '["mask/AP"]', "no such metric"),
        ('["segm/AP"]', '["segm/AP75-car"]', "no such metric"),
        ('["segm/AP"]', '["mask/AP-car"]', "no such metric"),
        ('rows={"RoI Pool"', 'rows={"RoIPool"', r"rows\.RoIPool"),
        ('{"segm/AP": 26.9}', '{"segm/ap": 26.9}', "no such metric"),
        ('"RoI Pool": {', '"RoI/Pool": {}, "RoI Pool": {', "different names"),
        ('"plain": {}', '"plain": {"weights_of": "x"}', r"no such arm.*plain\.weights_of"),
        ('"plain": {}', '"plain": {"weights_of": "plain"}', "not trained itself"),
        ("sweep = dict", "other = dict", "neither a sweep nor"),
        ("sweep = dict(", "sweep = 1 or dict(", "neither a sweep nor|not a sweep"),
    ],
)
def test_mistakes_in_a_file(file: Path, before: str, after: str, message: str) -> None:
    assert before in SWEEP
    file.write_text(SWEEP.replace(before, after))
    with pytest.raises(UserError, match=f"(?s){message}") as raised:
        load_sweep(file)
    assert str(file) in str(raised.value)


def test_an_arm_may_take_the_weights_of_another(file: Path, tmp_path: Path) -> None:
    file.write_text(SWEEP.replace('{"pooler.op": "roi_pool"}', '{"weights_of": "plain"}'))
    trials = plan_trials(load_sweep(file, ["train.ema=null,0.9"]), tmp_path)
    sources = [tmp_path / f"plain_ema={ema}/seed_3" for ema in ("null", "0.9")]
    assert [trial.source for trial in trials[:3]] == [*sources, None]
    assert trials[0].arm.overrides == ("train.max_iter=5", "train.ema=null")


def small(folder: Path, **arms: dict[str, object]) -> Path:
    path = folder / "small.py"
    path.write_text(f"sweep = dict(base={str(BASE)!r}, arms={arms!r})")
    return path


def test_what_the_configs_hold(tmp_path: Path) -> None:
    file = small(tmp_path, a={"train.max_iter": 7}, b={"pooler.op": "roi_pool"})
    one, other = resolve(load_sweep(file)).arms
    assert (one.max_iter, other.max_iter) == (7, 500)
    assert one.config != other.config
    # Wherever it is called from, and whatever the arm is called.
    again = resolve(load_sweep(small(tmp_path, c={"train.max_iter": 7}))).arms[0]
    assert again.config == one.config


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ({"a": {"poler.op": 1}}, "unknown key"),
        ({"a": {"pooler.op": "roi_alignn"}}, "roi_alignn"),
        ({"a": {}, "b": {"pooler.op": "roi_align"}}, "two arms are the same"),
        (
            {"a": {}, "b": {"weights_of": "a", "train.max_iter": 7}},
            r"trained in another way.*train\.max_iter",
        ),
    ],
)
def test_mistakes_in_configs(tmp_path: Path, arms: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        resolve(load_sweep(small(tmp_path, **arms)))


def test_a_metric_is_of_a_task_that_an_arm_has(tmp_path: Path) -> None:
    sweep = load_sweep(small(tmp_path, a={}, b={"train.max_iter": 3}))
    with pytest.raises(UserError, match="no arm has") as error:
        resolve(replace(sweep, metrics=("segm/AP", "keypoints/AP")))
    assert (error.value.file, error.value.found) == (sweep.file, "keypoints/AP")
    boxes = {"model.roi_heads.mask_in_features": None}
    sweep = load_sweep(small(tmp_path, a={}, b=boxes))
    resolve(replace(sweep, metrics=("segm/AP",)))  # one arm is enough
    assert "keypoints/AP" in resolve(sweep).metrics  # what a sweep that names none has


def test_a_class_of_a_metric_is_looked_for_before_any_training(figures, tmp_path: Path) -> None:
    places = [f"data.train.files={figures.train}", f"data.train.images={figures.train.parent}"]
    sweep = load_sweep(small(tmp_path, a={}, b={"train.max_iter": 3}), places)
    check_classes_of_metrics(replace(sweep, metrics=("segm/AP", "segm/AP-car", "bbox/AP50-person")))
    with pytest.raises(UserError, match="one of car, person") as error:
        check_classes_of_metrics(replace(sweep, metrics=("segm/AP-caar",)))
    assert (error.value.file, error.value.found) == (sweep.file, "segm/AP-caar")
    elsewhere = load_sweep(small(tmp_path, a={}, b={"train.max_iter": 3}))
    check_classes_of_metrics(elsewhere)  # without such a metric, no data are read


def test_a_config_alone_is_an_arm_where_there_are_several_seeds() -> None:
    for seeds in (None, [3]):
        with pytest.raises(UserError, match="key=a,b, or the sweep several seeds"):
            load_sweep(BASE, ["train.max_iter=7"], seeds)
    sweep = load_sweep(BASE, ["train.max_iter=7"], [3, 1])
    assert (sweep.seeds, sweep.baseline) == ((3, 1), "figures_mask")
    assert [arm.overrides for arm in sweep.arms] == [("train.max_iter=7",)]
    trials = plan_trials(sweep, Path("out"))
    assert [trial.folder for trial in trials] == [
        Path(f"out/figures_mask/seed_{n}") for n in (3, 1)
    ]
    # With values to choose from, arms are named as before.
    several = load_sweep(BASE, ["train.max_iter=7,8"], [3, 1])
    assert [arm.name for arm in several.arms] == ["max_iter=7", "max_iter=8"]


def test_seeds() -> None:
    assert parse_seeds("0, 3,1") == (0, 3, 1)
    for text in ("", "a", "1,1", "-1", "1,,2", "1.5"):
        with pytest.raises(UserError, match="seeds"):
            parse_seeds(text)


@pytest.mark.parametrize("name", ["plain", "with space", "a,b", "it's", "[x](1)=2"])
def test_any_output_folder_reaches_the_training(file: Path, tmp_path: Path, name: str) -> None:
    trial = plan_trials(load_sweep(file), tmp_path / name)[0]
    train = {"seed": 5, "output_dir": "", "max_iter": 0}
    cfg = OmegaConf.create({"train": train, "pooler": {"op": ""}})
    config.override(cfg, trial.overrides)
    assert (cfg.train.seed, cfg.train.output_dir) == (3, str(trial.folder))


def test_the_record_gives_the_sweep_back(file: Path, tmp_path: Path) -> None:
    sweep = load_sweep(file, ["train.ema=null,0.9"])
    save_sweep(sweep, "the command", tmp_path / "out")
    assert load_saved_sweep(tmp_path / "out") == replace(sweep, commands=("the command",))
    # More seeds and arms are added; none is lost.
    more = replace(load_sweep(file, ["train.ema=null,0.9,0.5"]), seeds=(0, 3))
    kept = save_sweep(more, "another", tmp_path / "out")
    assert (kept.seeds, len(kept.arms)) == ((0, 1, 3), 9)
    assert kept.commands == ("the command", "another")
    with pytest.raises(UserError, match=r"(?s)another sweep.*ema=0\.5"):
        save_sweep(sweep, "the command", tmp_path / "out")
    assert load_saved_sweep(tmp_path / "out") == kept
    with pytest.raises(UserError, match="not the folder of a sweep"):
        load_saved_sweep(tmp_path)
    for spoilt in ("{", "[]", '{"commands": []}'):
        (tmp_path / "out/sweep.json").write_text(spoilt)
        with pytest.raises(UserError, match="the record of a sweep"):
            load_saved_sweep(tmp_path / "out")
