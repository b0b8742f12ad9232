"""Strict configs: what exists can be overridden, saved and loaded; everything else is an error."""

import builtins
import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from detectron2.modeling import SwinTransformer
from omegaconf import OmegaConf

from roilab.engine import config
from roilab.errors import UserError
from roilab.files import config_folder

LEAF = "configs/mask_rcnn_R_50_FPN_1x.py"
BOXES = "model.roi_heads.box_predictor"
SHAPE = "model.roi_heads.box_head.input_shape"
POOLER = "model.roi_heads.mask_pooler"
HEAD = "model.roi_heads.mask_head"


def test_users_own_words_are_open_keys() -> None:
    cfg = config.load_config(LEAF, ["data.rules.class_map={persson: person, tree: null}"])
    assert dict(cfg.data.rules.class_map) == {"persson": "person", "tree": None}
    assert dict(cfg.data.train.rules.class_map) == {"persson": "person", "tree": None}


def test_one_knob_drives_every_pooler_and_each_can_be_set_alone() -> None:
    leaf = "configs/mask_keypoint_rcnn_R_50_FPN_1x.py"
    heads = config.load_config(leaf, ["pooler.op=roi_pool"]).model.roi_heads
    poolers = ("box_pooler", "mask_pooler", "keypoint_pooler")
    assert [heads[name].op for name in poolers] == ["roi_pool"] * 3
    heads = config.load_config(leaf, ["model.roi_heads.mask_pooler.op=roi_pool"]).model.roi_heads
    assert [heads[name].op for name in poolers] == ["roi_align", "roi_pool", "roi_align"]


def test_imagenet_weights_follow_the_depth() -> None:
    cfg = config.load_config(LEAF, ["model.backbone.bottom_up.stages.depth=101"])
    assert cfg.weights.imagenet.file.endswith("R-101.pkl")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("configs/mask_rcnn_R_50_FPN_9x.py", None, "(?s)does not exist.*R_50_FPN_1x.py"),
        ("bad.py", "model = {}\nraise KeyError('lost')\n", r"(?s)fails to load.*bad\.py.*lost"),
        ("other.yaml", "train: {}\n", "not a training config"),
        ("empty.yaml", "", "not a saved config"),
    ],
)
def test_a_file_that_is_no_config(name: str, content: str | None, message: str, tmp_path) -> None:
    path = Path(name) if content is None else tmp_path / name
    if content is not None:
        path.write_text(content)
    before = builtins.__import__
    with pytest.raises(UserError, match=message):
        config.load_config(path)
    assert builtins.__import__ is before


def test_a_saved_config_is_plain_resolved_yaml(tmp_path) -> None:
    cfg = config.load_config(LEAF, ["data.num_classes=3", "pooler.op=roi_pool"])
    config.save_config(cfg, tmp_path / "config.yaml")
    text = (tmp_path / "config.yaml").read_text()
    assert "!!python" not in text
    assert "${" not in text
    saved = config.load_config(tmp_path / "config.yaml")
    assert saved.model.roi_heads.num_classes == 3
    assert saved.model.roi_heads.mask_pooler.op == "roi_pool"
    # Saving what was loaded changes nothing more.
    config.save_config(saved, tmp_path / "again.yaml")
    assert (tmp_path / "again.yaml").read_text() == text


def test_what_cannot_be_saved_is_named(tmp_path) -> None:
    cfg = OmegaConf.create({"model": {"f": None}}, flags={"allow_objects": True})
    cfg.model.f = lambda: 0
    with pytest.raises(UserError, match=r"model\.f"):
        config.save_config(cfg, tmp_path / "config.yaml")
    assert not list(tmp_path.iterdir())


class TestTargets:
    """Another class in a node, by one override."""

    def test_what_both_take_stays_and_the_rest_is_named(self, caplog) -> None:
        target = f"{HEAD}._target_=roilab.modeling.MLPMaskHead"
        cfg = config.load_config(LEAF, [f"{HEAD}.loss_weight=2", target])
        head = cfg.model.roi_heads.mask_head
        assert head.loss_weight == 2
        assert "num_classes" in head
        assert "conv_dims" not in head
        assert "does not take conv_dims" in caplog.text

    def test_arguments_of_base_classes_are_known(self) -> None:
        target = f"{HEAD}._target_=roilab.modeling.MaskScoringHead"
        cfg = config.load_config(LEAF, [target, f"{HEAD}.output_size=56"])
        assert cfg.model.roi_heads.mask_head.output_size == 56
        with pytest.raises(UserError, match="unknown key"):
            config.load_config(LEAF, [target, f"{HEAD}.fc_dims=[8]"])


def test_a_config_of_detectron2_is_a_new_one_each_time() -> None:
    path = "common/models/mask_rcnn_fpn.py"
    before = config.to_plain_data(config.upstream(path))
    config.upstream(path).model.roi_heads.num_classes = 7
    assert config.to_plain_data(config.upstream(path)) == before


def test_a_config_may_build_on_the_model_zoo(tmp_path) -> None:
    path = tmp_path / "zoo.py"
    path.write_text(
        "from detectron2.model_zoo import get_config\n\n"
        'model = get_config("common/models/mask_rcnn_fpn.py").model\n'
    )
    assert config.load_config(path).model.roi_heads.num_classes == 80


def test_a_package_that_is_not_installed_has_a_remedy(monkeypatch) -> None:
    node = {"_target_": SwinTransformer, "drop_path_rate": 0.1}
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"-m pip install timm") as error:
        config.build(node, "model.backbone.bottom_up")
    assert sys.executable in str(error.value)
    assert "model.backbone.bottom_up" in str(error.value)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("pooler.op=foo", "pooler.op"),
        (f"{POOLER}.op=foo", f"{POOLER}.op"),
        (f"{POOLER}.sampling_ratio=-1", f"{POOLER}.sampling_ratio"),
        (f"{POOLER}.scales=3", POOLER),
    ],
)
def test_a_mistake_inside_a_node_has_its_whole_key(override: str, key: str) -> None:
    cfg = config.load_config(LEAF, ["data.num_classes=3", override])
    with torch.device("meta"), pytest.raises(UserError) as error:
        config.build(cfg.model, "model")
    assert error.value.key == key


class TestMaxDetections:
    """One key is the limit of the evaluation and of the model."""

    TOPK = "roi_heads.box_predictor.test_topk_per_image"
    KEY = "evaluation.max_detections"

    def topk(self, cfg) -> int:
        return OmegaConf.select(cfg.model, self.TOPK, default=100)

    def test_the_model_follows(self, tmp_path) -> None:
        assert config.load_config(LEAF).evaluation.max_detections is None
        assert self.topk(config.load_config(LEAF)) == 100
        cfg = config.load_config(LEAF, ["data.num_classes=2", f"{self.KEY}=300"])
        assert self.topk(cfg) == 300
        config.save_config(cfg, tmp_path / "config.yaml")
        assert self.topk(config.load_config(tmp_path / "config.yaml")) == 300
        assert self.topk(config.load_config(tmp_path / "config.yaml", [f"{self.KEY}=50"])) == 50

    def test_a_config_of_before_has_the_key(self, tmp_path) -> None:
        cfg = config.load_config(LEAF, ["data.num_classes=2"])
        del cfg["evaluation"]
        config.save_config(cfg, tmp_path / "config.yaml")
        assert config.load_config(tmp_path / "config.yaml").evaluation.max_detections is None
        assert self.topk(config.load_config(tmp_path / "config.yaml", [f"{self.KEY}=7"])) == 7

    def test_the_models_own_key_may_not_say_another_number(self) -> None:
        own = f"model.{self.TOPK}"
        with pytest.raises(UserError, match=rf"(?s)max_detections.*{own}=50") as error:
            config.load_config(LEAF, [f"{self.KEY}=7", f"{own}=50"])
        remedy = str(error.value.remedy).partition(": ")[2].split()
        assert self.topk(config.load_config(LEAF, remedy)) == 7
        assert self.topk(config.load_config(LEAF, [f"{own}=50"])) == 50

    def test_every_leaf_shows_the_key(self) -> None:
        for leaf in sorted(Path(LEAF).parent.glob("*.py")):
            node = config.read_config(leaf).evaluation
            assert OmegaConf.to_container(node) == config.EVALUATION, leaf


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        # A typo names the nearest key, or where none is near the top-level ones.
        ("train.max_iters=10", "train.max_iters", r"(?s)unknown key.*train\.max_iter\b"),
        ("trian.max_iter=10", "trian.max_iter", r"(?s)unknown key.*train\.max_iter\b"),
        ("pooler.ob=roi_pool", "pooler.ob", r"(?s)unknown key.*pooler\.op\b"),
        (f"{BOXES}.num_clases=3", f"{BOXES}.num_clases", rf"(?s)unknown key.*{BOXES}\.num_classes"),
        (f"{SHAPE}.chanels=3", f"{SHAPE}.chanels", rf"(?s)unknown key.*{SHAPE}\.channels"),
        (f"{SHAPE}={{chanels: 3}}", f"{SHAPE}.chanels", rf"(?s)unknown key.*{SHAPE}\.channels"),
        ("nothing=1", "nothing", "(?s)unknown key.*train"),
        # Also an argument that the config leaves at its default.
        *(
            (f"{key}=0.1", key, r"(?s)unknown key.*perhaps dataloader\.train\.repeat_threshold")
            for key in ("repeat_threshold", "data.repeat_threshold")
        ),
        ("train.max_iter", "train.max_iter", "key=value"),
        ("=3", "=3", "key=value"),
        ("train.max_iter=[1,", "train.max_iter", "cannot be read"),
        *(
            (f"{HEAD}._target_={target}", f"{HEAD}._target_", "the target cannot be")
            for target in (
                "roilab.modeling.MLPHead",
                "no.such.module",
                "roilab.modeling",
                "5",
                "null",
            )
        ),
        *(
            (f"evaluation.max_detections={value}", "evaluation.max_detections", "number")
            for value in ("0", "1.5", "True", "many")
        ),
        ("data.rules.default_class=${no.key}", "data.rules.default_class", "not found"),
        ("train.seed=${train.seed}", "train.seed", "itself"),
        ("train.seed=${train}", "train.seed", "parent"),
        ("train=null", "train", "max_iter"),
        ("evaluation=null", "evaluation", "max_detections"),
        ("data.classes=person", "data.classes", r"data\.classes=\[person\]"),
        ("data.rules.class_map=x", "data.rules.class_map", "a dict"),
        ("data.train.drop_empty=yes", "data.train.drop_empty", "True or False"),
        ("dataloader.train.num_workers=[1]", "dataloader.train.num_workers", "a whole number"),
        (f"{BOXES}.test_score_thresh=low", f"{BOXES}.test_score_thresh", "a number"),
        ("weights.mine=model.pth", "weights.mine", r"weights\.mine\.file=PATH"),
        ("weights.mine.may_differ=[a]", "weights.mine.file", r"weights\.mine\.file=PATH"),
    ],
)
def test_values_that_a_key_does_not_take(text: str, key: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as error:
        config.load_config(LEAF, [text])
    assert error.value.key == key


def test_a_config_of_roilab_is_found_by_its_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mask_rcnn_R_50_FPN_1x", "ablations/pooler_mask"):
        path = Path(config.find_config(name))
        assert path.is_file()
        assert path == config_folder() / f"{name}.py"
    Path("figures_mask").touch()  # a file of the user's own comes first
    assert config.find_config("figures_mask") == "figures_mask"
    assert config.find_config("figures_mask.py") == "figures_mask.py"
    with pytest.raises(UserError, match="mask_rcnn_R_50_FPN_1x"):
        config.load_config(config.find_config("mask_rcnn_R_50"))
