"""roilab config suggest: what it suggests for data sets of all kinds, and that it trains."""

import ast
import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from PIL import Image
from tests.engine.running import rectangle, write_via

from roilab.cli.config import main
from roilab.engine import config
from roilab.engine.build_data import has_head, tasks_of
from roilab.engine.overrides import write
from roilab.engine.setup import prepare
from roilab.engine.train import train
from roilab.errors import UserError
from roilab.escaping import one_line
from roilab.files import config_folder
from roilab.suggest.config_file import config_text
from roilab.suggest.draft import Draft, Hardware
from roilab.suggest.rules import set_augmentation
from roilab.suggest.suggest import Suggestion, suggest_config
from roilab.sweep import load_sweep
from roilab.synthetic import FiguresPaths

ROOT = Path(__file__).resolve().parents[2]
BALLOONS = ROOT.parent / "shared/data/balloon"
CPU, GPU = Hardware(2, None), Hardware(16, 24 * 10**9)
# A narrow model: no test depends on what it learns.
NARROW = (
    "train.max_iter=2",
    "train.device=cpu",
    "train.output_dir=run",
    "dataloader.train.num_workers=0",
    "dataloader.test.num_workers=0",
    "model.roi_heads.batch_size_per_image=8",
    "model.roi_heads.box_head.fc_dims=[16]",
    "model.roi_heads.box_predictor.input_shape.channels=16",
    "model.proposal_generator.post_nms_topk=[20,10]",
)


@pytest.fixture(scope="module", autouse=True)
def configs_are_loaded_once() -> Iterator[None]:
    """The configs of RoILab are loaded once, and copied, which takes a fiftieth of the time."""
    load, loaded = config.read_config, {}

    def read(path: str | Path) -> Any:
        if Path(path).parent != config_folder():
            return load(path)
        if path not in loaded:
            loaded[path] = load(path)
        return copy.deepcopy(loaded[path])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "read_config", read)
        yield


def triangle(x: float, y: float, width: float, height: float, **attributes: str) -> dict[str, Any]:
    """An outline that is no rectangle."""
    region = rectangle(0, 0, 1, 1, **attributes)
    region["shape_attributes"] |= {
        "all_points_x": [x, x + width, x],
        "all_points_y": [y, y, y + height],
    }
    return region


def point(x: float, y: float, **attributes: str) -> dict[str, Any]:
    shape = {"name": "point", "cx": x, "cy": y}
    return {"shape_attributes": shape, "region_attributes": attributes}


def via_set(
    folder: Path, *images: list[dict[str, Any]], size: tuple[int, int] = (96, 80)
) -> dict[str, str]:
    """Where a data set of such images is, as keys of a config."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(images)):
        Image.new("RGB", size, (number % 256, 90, 160)).save(folder / f"{number}.png")
    file = write_via(
        folder / "via.json", {f"{number}.png": regions for number, regions in enumerate(images)}
    )
    return {"data.train.files": str(file), "data.train.images": str(folder)}


def written(suggestion: Suggestion, folder: Path) -> Path:
    file = folder / "suggested.py"
    file.write_text(config_text(suggestion.draft, "A title", ["A remark"]), encoding="utf-8")
    return file


def reasons(suggestion: Suggestion) -> str:
    return "\n".join(part.reason for part in suggestion.draft.parts)


def persons(figures: FiguresPaths, folder: Path, keep: tuple[str, ...]) -> Path:
    """The training set of the sample set with some shapes of its persons alone."""
    data = json.loads(figures.train.read_text(encoding="utf-8"))
    for entry in data["_via_img_metadata"].values():
        entry["regions"] = [
            region
            for region in entry["regions"]
            if region["shape_attributes"]["name"] in keep
            and region["region_attributes"].get("class") != "car"
        ]
    shutil.copytree(figures.train.parent, folder)
    file = folder / figures.train.name
    file.write_text(json.dumps(data), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("shapes", "tasks"),
    [
        (("polygon",), ["bbox", "segm"]),
        (("point",), ["bbox", "keypoints"]),
        (("polygon", "point"), ["bbox", "segm", "keypoints"]),
    ],
)
def test_it_trains_as_it_is_written(
    shapes: tuple[str, ...],
    tasks: list[str],
    figures: FiguresPaths,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    persons(figures, tmp_path / "photos", shapes)
    monkeypatch.chdir(tmp_path)
    options = ["--train", f"photos/{figures.train.name}", "--images", "photos"]
    more = [] if "point" not in shapes or "polygon" in shapes else ["--default-class", "person"]
    assert main(["suggest", *options, *more, "--output", "mine.py"]) == 0
    assert main(["show", "mine.py", "--key", "train.max_iter"]) == 0
    setup = prepare(config.load_config("mine.py", NARROW))
    assert tasks_of(setup.cfg.model.roi_heads) == tasks
    train(setup)
    assert (tmp_path / "run" / "model_final.pth").is_file()


def test_it_trains_boxes_alone(tmp_path: Path) -> None:
    """Rectangles would teach a mask head no more than the boxes."""
    regions = [rectangle(10, 10, 30, 40, kind="window")]
    suggestion = suggest_config(via_set(tmp_path, regions, regions), [], CPU)
    assert "no masks, since all outlines (of 2 objects) are rectangles" in reasons(suggestion)
    file = written(suggestion, tmp_path)
    setup = prepare(config.load_config(file, [*NARROW, f"train.output_dir={tmp_path / 'run'}"]))
    assert tasks_of(setup.cfg.model.roi_heads) == ["bbox"]
    train(setup)
    on_gpu = suggest_config(via_set(tmp_path, regions, regions), [], GPU).draft.cfg
    assert not has_head(on_gpu.model.roi_heads, "mask")
    assert "roi_heads.mask_head.*" in on_gpu.weights.coco.may_differ


def test_boxes_without_outlines_are_trained_alone(tmp_path: Path) -> None:
    Image.new("RGB", (96, 80)).save(tmp_path / "0.png")
    image = {"id": 1, "file_name": "0.png", "width": 96, "height": 80}
    boxes = [
        {"id": n, "image_id": 1, "category_id": 1, "bbox": [9, 9, 30 + n, 40], "area": 1200}
        for n in (1, 2)
    ]
    data = {"images": [image], "annotations": boxes, "categories": [{"id": 1, "name": "dog"}]}
    file = tmp_path / "coco.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    suggestion = suggest_config({"data.train.files": str(file)}, [], CPU)
    assert "no masks, since 2 of 2 objects have no outline" in reasons(suggestion)
    cfg = prepare(config.load_config(written(suggestion, tmp_path))).cfg
    assert tasks_of(cfg.model.roi_heads) == ["bbox"]
    with pytest.raises(UserError, match="has a mask head"):
        suggest_config({"data.train.files": str(file)}, [], CPU, "small_mask")


def dogs(folder: Path, count: int = 3, **more: Any) -> dict[str, str]:
    regions = [triangle(10, 10, 40, 50, kind="dog"), triangle(50, 5, 33, 36, kind="dog")]
    return via_set(folder, *[regions] * count, **more)


@pytest.mark.parametrize("hardware", [CPU, GPU])
def test_the_file_is_the_draft_and_says_why(hardware: Hardware, tmp_path: Path) -> None:
    suggestion = suggest_config(dogs(tmp_path), ["train.seed=3", "pooler.op=roi_pool"], hardware)
    file = written(suggestion, tmp_path)
    expected = config.to_plain_data(suggestion.draft.cfg)
    assert config.to_plain_data(config.load_config(file)) == expected
    assert expected["train"]["seed"] == 3
    assert {pooler["op"] for pooler in poolers(expected)} == {"roi_pool"}
    lines = file.read_text(encoding="utf-8").partition("_asked = [")[2].splitlines()
    assert max(map(len, lines)) <= 100
    # No line repeats what the base has.
    base = config.to_plain_data(config.load_config(config.find_config(suggestion.draft.base)))
    for part in suggestion.draft.parts:
        for key, value in part.values.items():
            before = OmegaConf.select(OmegaConf.create(base), key)
            assert before != value, key


def poolers(cfg: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for name, node in cfg["model"]["roi_heads"].items() if name.endswith("_pooler")]


def test_what_the_user_asks_for_wins(tmp_path: Path) -> None:
    asked = {
        "train.max_iter": 7,
        "dataloader.train.total_batch_size": 3,
        "dataloader.test.augmentations.0.max_size": 300,
        "model.proposal_generator.anchor_generator.sizes": [[8], [16], [32], [64]],
        "train.eval_period": 4,
        "data.val.files": str(tmp_path / "other" / "via.json"),
        "data.val.images": str(tmp_path / "other"),
    }
    dogs(tmp_path / "other", 1)
    texts = [write(key, value) for key, value in asked.items()]
    suggestion = suggest_config(dogs(tmp_path), texts, CPU)
    cfg = config.load_config(written(suggestion, tmp_path))
    for key, value in asked.items():
        assert OmegaConf.select(cfg, key) == value
    assert suggestion.val is not None
    assert len(suggestion.val) == 1
    for topic in ("Batch", "Iterations", "Evaluation", "Image size", "Anchors"):
        assert f"{topic}: as you asked" in reasons(suggestion)
    # What follows from it follows.
    assert cfg.train.checkpoint_period == 1
    again = config.load_config(tmp_path / "suggested.py", ["train.max_iter=9"])
    assert again.train.max_iter == 9


NAMES = ("a\n'b", 'say "hi"', '"""', "back\\slash", "${data.seed}", "null", "# é")


def test_names_of_any_kind(tmp_path: Path) -> None:
    regions = [triangle(10, 10, 40, 50, kind=name) for name in NAMES]
    places = via_set(tmp_path / 'my "photos" [1], é', regions)
    rename = write("data.rules.class_map", {name: f"{name} x" for name in NAMES[1:]})
    suggestion = suggest_config(places, [rename], CPU)
    text = config_text(suggestion.draft, "For " + " ".join(NAMES), [f"Of {name}" for name in NAMES])
    path = tmp_path / "suggested.py"
    path.write_text(text, encoding="utf-8")
    said = " ".join((ast.get_docstring(ast.parse(text)) or "").split())
    assert all(f"Of {one_line(name)}" in said for name in NAMES)
    setup = prepare(config.load_config(path))
    assert set(setup.val.classes) == {NAMES[0], *(f"{name} x" for name in NAMES[1:])}


def test_a_preset_that_only_the_base_has(tmp_path: Path) -> None:
    asked = ["data.augmentation=crops"]
    suggestion = suggest_config(dogs(tmp_path / "mine"), asked, CPU, "balloon_mask")
    assert suggestion.draft.cfg.data.augmentation == "crops"


@pytest.mark.skipif(not BALLOONS.is_dir(), reason="the balloon set is not here")
def test_the_sweep_of_the_balloon_set_trains_what_is_suggested() -> None:
    folder = BALLOONS / "train"
    places = {
        "data.train.files": str(folder / "via_region_data.json"),
        "data.train.images": str(folder),
    }
    draft = suggest_config(places, ["data.rules.default_class=balloon"], CPU).draft
    base, arm = load_sweep(ROOT / "configs/ablations/balloon_suggest.py").arms
    assert Path(base.config_file).stem == draft.base
    suggested = {write(key, value) for part in draft.parts for key, value in part.values.items()}
    no_difference = ("data.train.", "data.val.", "train.checkpoint_period=", "train.eval_period=")
    kept = {text for text in suggested if not text.startswith(no_difference)}
    assert set(arm.overrides) - set(base.overrides) == kept


def test_a_base_of_the_user_keeps_its_data_and_rules(tmp_path: Path) -> None:
    places = dogs(tmp_path / "other", 1)
    val = {key.replace("train", "val"): place for key, place in places.items()}
    rule = "data.rules.class_map={dog: wolf}"
    asked = [rule, "train.max_iter=77", "dataloader.train.total_batch_size=3"]
    first = suggest_config(dogs(tmp_path / "mine") | val, asked, CPU)
    base = written(first, tmp_path)
    again = suggest_config(dogs(tmp_path / "mine"), [], CPU, str(base))
    assert again.draft.cfg.train.max_iter == 77
    assert again.draft.cfg.dataloader.train.total_batch_size == 3
    assert "Iterations: as you asked" in reasons(again)
    assert again.val is not None
    assert len(again.val) == 1
    assert again.train.classes == ("wolf",)
    assert prepare(again.draft.cfg).val.classes == ("wolf",)


def test_a_skeleton_that_is_asked_away(figures: FiguresPaths) -> None:
    places = {"data.train.files": str(figures.train)}
    suggestion = suggest_config(places, ["data.skeleton=null"], CPU)
    assert (suggestion.heads.mask, suggestion.heads.keypoint) == (True, False)
    assert prepare(suggestion.draft.cfg).val.skeleton is None


def test_a_large_model_for_a_gpu(tmp_path: Path) -> None:
    cfg = suggest_config(dogs(tmp_path), [], GPU).draft.cfg
    assert cfg.model.backbone.bottom_up.stages.depth == 50
    assert cfg.train.init_checkpoint == "coco"
    assert cfg.dataloader.train.total_batch_size == 4
    small = suggest_config(dogs(tmp_path), [], Hardware(16, 6 * 10**9)).draft.cfg
    assert small.dataloader.train.total_batch_size == 1
    on_cpu = suggest_config(dogs(tmp_path), ["train.device=cpu"], GPU).draft
    assert on_cpu.base == "small_mask"


def test_images_are_enlarged_for_small_objects_within_their_own_size(tmp_path: Path) -> None:
    """In images of 1024 pixels, objects of 48, 24 and 200 pixels; the base halves the images."""
    for number, (side, expected) in enumerate([(48, 672), (24, 768), (200, 512)]):
        regions = [triangle(9, 9, side, side, kind="dog")]
        places = via_set(tmp_path / str(number), regions, regions, size=(1024, 700))
        cfg = suggest_config(places, [], CPU).draft.cfg
        assert cfg.dataloader.test.augmentations[0].max_size == expected
        assert cfg.dataloader.train.augmentations[0].target_width == expected
    places = via_set(tmp_path / "own", [triangle(9, 9, 90, 90, kind="dog")], size=(256, 200))
    cfg = suggest_config(places, [], CPU).draft.cfg
    assert cfg.dataloader.test.augmentations[0].max_size == 256


def test_tiny_objects_get_a_finer_level(tmp_path: Path) -> None:
    tiny = [triangle(9 + 30 * n, 9 + 21 * n, 14, 14, kind="dog") for n in range(16)]
    suggestion = suggest_config(via_set(tmp_path, *[tiny] * 4, size=(512, 400)), [], CPU)
    cfg = config.load_config(written(suggestion, tmp_path))
    assert cfg.model.proposal_generator.in_features[0] == "p2"
    assert prepare(cfg)
    assert suggestion.anchors is not None
    assert suggestion.anchors.best.bound.at_50 > 0.3


def test_few_images_get_a_strong_augmentation(tmp_path: Path) -> None:
    rectangles = [[rectangle(10, 10, 30, 40, kind="window")]] * 2
    for preset, places in (
        ("copy_paste", dogs(tmp_path / "dogs", 2)),
        ("small", dogs(tmp_path / "dog", 1)),
        ("small", via_set(tmp_path / "windows", *rectangles)),
    ):
        suggestion = suggest_config(places, [], CPU)
        assert suggestion.draft.cfg.data.augmentation == preset
        # Scale 1 of a preset is the size of the evaluation.
        assert suggestion.draft.cfg.data.augmentation_size == 96
    draft = Draft("small_mask", [])
    set_augmentation(draft, 1001, outlines=True)
    assert draft.cfg.data.augmentation == "mild"
    asked = suggest_config(dogs(tmp_path / "dogs", 2), ["data.augmentation=lsj"], CPU)
    assert asked.draft.cfg.data.augmentation == "lsj"
    assert "Augmentation: as you asked" in reasons(asked)


def test_rare_classes_are_drawn_more_often(tmp_path: Path) -> None:
    dog, cat = (triangle(10, 10, 40, 50, kind=kind) for kind in ("dog", "cat"))
    common = suggest_config(via_set(tmp_path, *[[dog]] * 4, [dog, cat]), [], CPU)
    assert "Rare classes" not in reasons(common)
    images = [*[[dog]] * 19, [dog, cat]]
    rare = suggest_config(via_set(tmp_path, *images), [], CPU)
    assert "Rare classes: images with a class of fewer than 10% of them" in reasons(rare)
    assert "cat 1.4 times." in reasons(rare)
    assert rare.draft.cfg.dataloader.train.repeat_threshold == 0.1
    asked = suggest_config(
        via_set(tmp_path, *images), ["dataloader.train.repeat_threshold=0.3"], CPU
    )
    assert asked.draft.cfg.dataloader.train.repeat_threshold == 0.3


def test_one_box_keeps_the_anchors(tmp_path: Path) -> None:
    places = via_set(tmp_path, [triangle(10, 10, 40, 50, kind="dog")])
    suggestion = suggest_config(places, [], CPU)
    assert "not to 1 box of 1 image" in reasons(suggestion)
    assert prepare(config.load_config(written(suggestion, tmp_path)))


def test_points_without_a_skeleton_are_counted(tmp_path: Path) -> None:
    regions = [triangle(10, 10, 40, 50, kind="dog"), point(12, 12, part="tip")]
    said = reasons(suggest_config(via_set(tmp_path, regions), [], CPU))
    assert "no keypoints, since 1 point has no skeleton" in said


def test_images_without_keypoints_stay_where_other_classes_have_none(figures: FiguresPaths) -> None:
    places = {
        "data.train.files": str(figures.train),
        "data.train.images": str(figures.train.parent),
    }
    cfg = suggest_config(places, [], GPU).draft.cfg
    assert has_head(cfg.model.roi_heads, "keypoint")
    assert cfg.data.train.min_keypoints == 0


def error_of(output: Path, *arguments: object) -> str:
    """The error of the command, which leaves nothing behind."""
    before = set(output.parent.parent.rglob("*"))
    with pytest.raises(UserError) as error:
        main(["suggest", "--output", str(output), *map(str, arguments)])
    assert set(output.parent.parent.rglob("*")) == before
    return str(error.value)


def test_bad_input(tmp_path: Path) -> None:
    photos, lonely, output = tmp_path / "photos", tmp_path / "lonely", tmp_path / "out" / "mine.py"
    file = dogs(photos)["data.train.files"]
    data = ["--train", file, "--images", photos]
    assert "cannot be read" in error_of(output, "--train", "missing.json")
    assert "does not exist" in error_of(output, "--train", file, "--images", "missing")
    assert "train.max_iter" in error_of(output, *data, "train.maxiter=7")
    assert "one of flip, lsj" in error_of(output, *data, "data.augmentation=copypaste")
    for senseless in ("data.augmentation_size=-4", "dataloader.train.repeat_threshold=5"):
        assert "makes no sense" in error_of(output, *data, senseless)
    assert "does not exist" in error_of(output, *data, "--base", "no_config")
    assert "has a keypoint head" in error_of(output, *data, "--base", "small_keypoint")
    assert "does not fit" in error_of(output, *data, "model.roi_heads.num_classes=7")
    assert "ends with .py" in error_of(output.with_suffix(".yaml"), *data)
    empty = via_set(tmp_path / "empty", [])["data.train.files"]
    assert "no image is left" in error_of(output, "--train", empty)
    lonely.mkdir()
    shutil.copy(file, lonely / "via.json")
    val = ["--val", lonely / "via.json", "--val-images", lonely]
    assert "3 of 3 annotated images cannot be used" in error_of(output, *data, *val)


def test_validation_images_beside_their_file_are_taken(tmp_path: Path) -> None:
    """Both folders have images of the same names."""
    train, val = (Path(dogs(tmp_path / name)["data.train.files"]) for name in ("train", "val"))
    alone = tmp_path / "val.json"
    shutil.copy(train, alone)
    for number, (file, folder) in enumerate(((val, val.parent), (alone, train.parent))):
        output = tmp_path / f"mine_{number}.py"
        data = ["--train", train, "--images", train.parent, "--val", file, "--output", output]
        assert main(["suggest", *map(str, data)]) == 0
        assert config.load_config(output).data.val.images == str(folder)


def test_an_unreadable_image_and_a_file_that_is_there(tmp_path: Path) -> None:
    photos, output = tmp_path / "photos", tmp_path / "out" / "mine.py"
    data = ["--train", dogs(photos)["data.train.files"]]
    (photos / "0.png").write_bytes(b"no image")
    assert "1 of 3 annotated images cannot be used" in error_of(output, *data)
    for number, skip in enumerate(("data.missing_images=skip", "data.train.missing_images=skip")):
        path = output.with_name(f"{number}.py")
        assert main(["suggest", *data, skip, "--output", str(path)]) == 0
        assert prepare(config.load_config(path))
        assert "written over" in error_of(path, *data, skip)
