"""What a training does beside its steps, and what it says of mistakes."""

import logging
import math
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.modeling import GeneralizedRCNN
from omegaconf import OmegaConf
from PIL import Image
from torch import nn
from torch._dynamo.backends.common import aot_autograd

from roilab.engine import build_model, config
from roilab.engine.build_model import compile_backbone, freeze, train_mode, without_sync
from roilab.engine.replay import replay
from roilab.engine.setup import prepare
from roilab.engine.train import train
from roilab.engine.train_state import MovingAverage, TrainState, _train_state
from roilab.engine.validate import evaluate_model, validate
from roilab.errors import UserError

from .running import checkpoint, configured, lines, same, shapes, trained


def test_the_same_seed_gives_the_same_weights(data: Path, tmp_path: Path) -> None:
    first, second, other = (
        trained(data, tmp_path / name, "train.max_iter=3", f"train.seed={seed}")["model"]
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert same(first, second)
    assert not same(first, other)


def test_validation_losses_stand_beside_those_of_the_training(data: Path, run: Path) -> None:
    trained(data, run, "train.max_iter=4", "train.eval_period=2")
    steps = lines(run)
    losses = {name for name in steps[0] if "loss" in name}
    assert losses == {
        "total_loss",
        *(f"loss_{n}" for n in ("rpn_cls", "rpn_loc", "cls", "box_reg", "mask")),
    }
    for step in steps:
        evaluated = step["iteration"] in (1, 3)
        expected = {f"val_{name}" for name in losses if evaluated}
        assert {n for n in step if n.startswith("val_")} == expected
        assert ("segm/AP" in step) == evaluated
    parts = sum(v for k, v in steps[-1].items() if k.startswith("val_loss_"))
    assert math.isclose(parts, steps[-1]["val_total_loss"], rel_tol=1e-6)


def test_an_evaluation_leaves_the_training_alone(data: Path, tmp_path: Path) -> None:
    """Also where it meets BatchNorm, whose statistics it must not count."""
    norm = "model.backbone.norm=BN"
    first = trained(data, tmp_path / "a", "train.max_iter=4", "train.eval_period=0", norm)
    second = trained(data, tmp_path / "b", "train.max_iter=4", "train.eval_period=1", norm)
    assert any("running_mean" in name for name in first["model"])
    assert same(first["model"], second["model"])


def test_channels_last_is_the_same_training(data: Path, tmp_path: Path) -> None:
    # Small steps: AdamW's first ones are as large for a gradient that is nothing but rounding.
    short = ("train.max_iter=2", "lr_multiplier.warmup_iters=100")
    states = [
        trained(data, tmp_path / str(value), *short, f"train.channels_last={value}")
        for value in (True, False)
    ]
    for name, value in states[0]["model"].items():
        torch.testing.assert_close(value, states[1]["model"][name], rtol=1e-3, atol=1e-4)


def test_the_best_is_kept_and_patience_ends(data: Path, run: Path) -> None:
    # A rate of nearly nothing: nothing gets better after the first evaluation.
    more = ("train.max_iter=50", "train.eval_period=1", "optimizer.lr=1e-30", "train.patience=3")
    last = trained(data, run, *more, "train.best=val_total_loss")
    assert last["iteration"] == 3
    assert (last["best_iteration"], last["since_best"]) == (0, 3)
    best = checkpoint(run, "model_best.pth")
    assert best["iteration"] == 0
    for name, value in checkpoint(run, "model_final.pth")["model"].items():
        torch.testing.assert_close(best["model"][name], value, rtol=0, atol=1e-20)
    assert (run / "results_best.json").is_file()
    # It has ended: resuming it adds no step.
    again = trained(data, run, *more, "train.best=val_total_loss", resume=True)
    assert again["iteration"] == 3


@pytest.mark.parametrize("less", [False, True])
def test_the_state_has_the_best(less: bool) -> None:
    state, is_best = TrainState(), []
    for state.iteration, value in enumerate([None, 2.0, 1.0, 2.0, 3.0]):
        is_best.append(state.update_best(value, less_is_better=less))
    assert is_best == [False, True, less, False, not less]
    assert (state.best, state.best_iteration) == ((1.0, 2) if less else (3.0, 4))


def test_the_state_is_read_back() -> None:
    """A learning rate may be a whole number."""
    saved = TrainState(3, 3, 1.5, 2, 1, {"a.jpg": "cut"}, {"lr": 1, "total_loss": 0.5})
    assert _train_state(asdict(saved)) == saved


def test_a_moving_average() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = MovingAverage(model, 0.5)
    start = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight += 1
        model[1].num_batches_tracked += 4
    average.update(model)
    # The first decay is 1/10, below the 0.5 that is asked for.
    torch.testing.assert_close(average.weights["0.weight"], start + 0.9)
    assert average.weights["1.num_batches_tracked"] == 4
    with average.in_place_of(model):
        torch.testing.assert_close(model[0].weight.detach(), start + 0.9)
    torch.testing.assert_close(model[0].weight.detach(), start + 1)
    for _ in range(40):
        average.update(model)
    torch.testing.assert_close(average.weights["0.weight"], start + 1)


def test_the_log_says_what_the_time_went_to(data: Path, run: Path) -> None:
    trained(data, run, "train.max_iter=4", "train.log_period=1", "train.checkpoint_period=2")
    text = (run / "log.txt").read_text()
    (line,) = re.findall(r"4 iterations in 0:\d\d:\d\d: (.*)", text)
    shares = {what: float(share) for what, share in re.findall(r"(\w[\w ]*) ([\d.]+)%", line)}
    assert set(shares) == {"data", "steps", "logging", "checkpoints", "evaluation", "all else"}
    assert abs(sum(shares.values()) - 100) < 0.5
    assert shares["steps"] > 0
    assert "warm-up" not in text, "of four iterations, it has none"


def test_accumulated_batches_are_one_large_batch(data: Path, tmp_path: Path) -> None:
    one = trained(data, tmp_path / "one", *EVEN, "dataloader.train.total_batch_size=4")
    halves = ("dataloader.train.total_batch_size=2", "train.accumulate=2")
    ungrouped = "dataloader.train.aspect_ratio_grouping=False"
    many = trained(data, tmp_path / "many", *EVEN, *halves, ungrouped)
    begun = trained(data, tmp_path / "begun", *EVEN, "optimizer.lr=1e-30")
    assert_close(one["model"], many["model"], begun["model"])


# Nothing is drawn, and every image has as much part in the losses as any other: all anchors are
# taken, twenty proposals and the two objects themselves, of which only these are foreground. A mean
# over parts of a batch is then the mean over the batch.
EVEN = (
    "train.max_iter=3",
    "train.eval_period=0",
    "model.proposal_generator.batch_size_per_image=4096",
    "model.proposal_generator.nms_thresh=1.0",
    "model.proposal_generator.pre_nms_topk=[40,40]",
    "model.proposal_generator.post_nms_topk=[20,20]",
    "model.roi_heads.batch_size_per_image=512",
    "model.roi_heads.proposal_matcher.thresholds=[0.999]",
    "optimizer._target_=torch.optim.SGD",
    "optimizer.lr=0.05",
    "optimizer.weight_decay=0.0",
    "lr_multiplier.warmup_iters=0",
)


def assert_close(first, second, begun) -> None:
    """Equal within float tolerance, which is small beside what was learnt."""
    learnt = 0.0
    for name, value in first.items():
        step = (value - begun[name]).abs().max().item()
        torch.testing.assert_close(value, second[name], rtol=1e-4, atol=max(1e-3 * step, 1e-6))
        learnt = max(learnt, step)
    assert learnt > 1e-3


def test_gradients_are_clipped(data: Path, tmp_path: Path) -> None:
    still = trained(data, tmp_path / "a", *EVEN, "train.clip_norm=1e-12")["model"]
    moved = trained(data, tmp_path / "b", *EVEN)["model"]
    name = "roi_heads.box_predictor.cls_score.weight"
    begun = trained(data, tmp_path / "c", *EVEN, "optimizer.lr=1e-30")["model"]
    torch.testing.assert_close(still[name], begun[name], rtol=0, atol=1e-10)
    assert (moved[name] - begun[name]).abs().max() > 1e-4


def test_what_is_frozen_stays(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    frozen = "train.freeze=[backbone.bottom_up.*,*.mask_head.*]"
    state = trained(data, run, "train.max_iter=3", frozen)["model"]
    begun = trained(data, tmp_path / "begun", "train.max_iter=1", "optimizer.lr=1e-30")["model"]
    moved = set()
    for name, value in state.items():
        if not torch.allclose(value, begun[name], rtol=0, atol=1e-12):
            moved.add(".".join(name.split(".")[:2]))
    heads = {"roi_heads.box_head", "roi_heads.box_predictor"}
    without_fpn = {name for name in moved if not name.startswith("backbone.fpn_")}
    assert without_fpn == {"proposal_generator.rpn_head", *heads}


def test_a_frozen_batch_norm_keeps_its_statistics() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.BatchNorm2d(1))
    freeze(model, ["1.*"])
    train_mode(model)
    assert [module.training for module in model] == [True, False, True]
    train_mode(model, keep_statistics=True)
    assert [module.training for module in model] == [True, False, False]


def test_sync_norms_are_plain_on_the_cpu(caplog) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.SyncBatchNorm(4)))
    with torch.no_grad():
        model[1][0].weight.fill_(3)
    before = model.state_dict()
    with caplog.at_level(logging.WARNING):
        plain = without_sync(model)
    assert type(plain[1][0]) is nn.BatchNorm2d
    assert same(plain.state_dict(), before)
    plain(torch.rand(2, 3, 4, 4)).sum().backward()
    assert "1 SyncBN" in caplog.text


def test_syncbn_trains_on_the_cpu(data: Path, tmp_path: Path) -> None:
    norm = "model.backbone.norm=SyncBN"
    model = trained(data, tmp_path / "run", "train.max_iter=1", norm)["model"]
    counts = [int(value) for name, value in model.items() if name.endswith("num_batches_tracked")]
    assert set(counts) == {1}


class OwnForward(GeneralizedRCNN):
    """A model of a class of its own, which may do anything with an image."""

    def forward(self, batched_inputs):
        return super().forward(batched_inputs)


def test_validation_losses_change_no_detection(data: Path, tmp_path: Path) -> None:
    """And have the same value whether the features are computed once or twice."""
    cfg = configured(data, tmp_path)
    setup = prepare(cfg, training=False)
    torch.manual_seed(0)
    model = build_model.build_model(cfg)
    calls: list[object] = []
    model.backbone.register_forward_pre_hook(lambda *inputs: calls.append(inputs))
    alone = evaluate_model(cfg, model, setup.val)
    count = len(calls)
    once, losses = validate(cfg, model, setup.val)
    assert once.detections == alone.detections
    assert len(calls) == 2 * count
    same_parts = ("backbone", "proposal_generator", "roi_heads", "input_format")
    other = OwnForward(
        **{name: getattr(model, name) for name in same_parts},
        pixel_mean=model.pixel_mean.flatten().tolist(),
        pixel_std=model.pixel_std.flatten().tolist(),
    )
    twice, again = validate(cfg, other, setup.val)
    assert (twice.detections, again) == (once.detections, losses)
    assert len(calls) == 4 * count


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(2, 2)

    def forward(self, x):
        return self.backbone(x)


def compile_with(monkeypatch: pytest.MonkeyPatch, backend: Any, model: nn.Module) -> None:
    plain = torch._dynamo.lookup_backend
    monkeypatch.setattr(
        torch._dynamo, "lookup_backend", lambda name: backend if name == "inductor" else plain(name)
    )
    compile_backbone(model)


def test_a_backbone_that_cannot_be_compiled_runs_as_it_is(monkeypatch, caplog) -> None:
    model, x = Small(), torch.rand(1, 2)
    expected, calls = model(x), []

    def broken(*arguments):
        calls.append(1)
        raise RuntimeError("no compiler here\nand a long story")

    compile_with(monkeypatch, broken, model)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(model(x), expected)
        assert torch.equal(model(x), expected)
        assert model(torch.rand(3, 2)).shape == (3, 2)  # for other shapes it is not tried again
    assert len(calls) == 1
    assert "no compiler here" in caplog.text
    assert "long story" not in caplog.text


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_torch_compiles_a_backbone_and_its_gradient(monkeypatch) -> None:
    model, x = Small(), torch.rand(3, 2)
    model(x).square().sum().backward()
    expected = model.backbone.weight.grad.clone()
    model.zero_grad()
    warned: list[object] = []
    monkeypatch.setattr(build_model.log, "warning", lambda *message: warned.append(message))
    compile_backbone(model)
    model(x).square().sum().backward()
    torch.testing.assert_close(model.backbone.weight.grad, expected)
    assert warned == []


def test_a_gradient_that_cannot_be_compiled_is_found_before_the_step(monkeypatch, caplog) -> None:
    def broken(graph, inputs):
        raise RuntimeError("no gradient here")

    backend = aot_autograd(fw_compiler=lambda graph, inputs: graph.forward, bw_compiler=broken)
    model, x = Small(), torch.rand(3, 2)
    compile_with(monkeypatch, backend, model)
    with caplog.at_level(logging.WARNING):
        model(x).sum().backward()
    assert "no gradient here" in caplog.text
    assert model.backbone.weight.grad is not None


def test_a_compiled_backbone_is_used(monkeypatch) -> None:
    model, x = Small(), torch.rand(1, 2)
    expected, names = 2 * model(x), list(model.state_dict())
    compile_with(
        monkeypatch, lambda graph, _: lambda *inputs: [2 * y for y in graph(*inputs)], model
    )
    assert torch.equal(model(x), expected)
    assert list(model.state_dict()) == names


@pytest.mark.parametrize(
    ("batch", "accumulate", "meant", "scaled"),
    [(2, 1, 16, 0.125), (4, 4, 16, 1.0), (2, 1, "null", 1.0), (8, 4, 16, 2.0)],
)
def test_the_learning_rate_follows_the_batch(
    data: Path, tmp_path: Path, caplog, batch: int, accumulate: int, meant, scaled: float
) -> None:
    more = (
        f"dataloader.train.total_batch_size={batch}",
        f"train.accumulate={accumulate}",
        f"train.lr_batch_size={meant}",
        "optimizer.lr=0.4",
    )
    cfg = configured(data, tmp_path, *more)
    with caplog.at_level(logging.WARNING):
        prepare(cfg)
    assert math.isclose(cfg.optimizer.lr, 0.4 * scaled)
    assert ("learning rate" in caplog.text) == (scaled != 1)
    # What a run folder holds is not scaled once more.
    config.save_config(cfg, tmp_path / "config.yaml")
    again = config.load_config(tmp_path / "config.yaml")
    prepare(again)
    assert math.isclose(again.optimizer.lr, cfg.optimizer.lr)


def test_few_bits_in_files_of_16_are_warned_of_once(tmp_path: Path, caplog) -> None:
    folder = shapes(tmp_path / "data")
    for path in (folder / "train").glob("*.png"):
        grey = np.asarray(Image.open(path).convert("L"))
        Image.fromarray(grey.astype(np.uint16) * 16).save(path)
    with caplog.at_level(logging.WARNING):
        prepare(configured(folder, tmp_path))
    assert caplog.text.count("6 of 6 images looked at") == 1
    assert "likely hold 12 bits in files of 16" in caplog.text
    assert "datasets/README.md" in caplog.text


def test_a_loss_that_is_not_finite(data: Path, run: Path, monkeypatch) -> None:
    """The step can be repeated from what is saved, and gives the same losses."""
    huge = ("train.max_iter=20", "optimizer._target_=torch.optim.SGD", "optimizer.lr=1e12")
    with pytest.raises(UserError, match="not finite at iteration") as error:
        trained(data, run, *huge, "lr_multiplier.warmup_iters=0", "train.accumulate=2")
    said = str(error.value)
    iteration = int(re.search(r"at iteration (\d+)", said)[1])
    assert 0 < iteration < 20
    assert "nan" in said or "inf" in said
    state = checkpoint(run, f"diverged_{iteration:07d}.pth")
    assert state["iteration"] == iteration - 1
    assert len(state["files"]) == 4
    assert all(file in said for file in state["files"])
    assert all(torch.isfinite(value).all() for value in state["model"].values())
    cfg = config.load_config(run / "config.yaml")
    replayed = replay(prepare(cfg), f"diverged_{iteration:07d}.pth")
    losses = {name: sum(batch[name] for batch in replayed) for name in replayed[0]}
    for name, value in losses.items():
        stated_loss = float(re.search(rf"{name} ([^\s,]+)", said)[1])
        assert math.isfinite(value) == math.isfinite(stated_loss)
    assert not all(map(math.isfinite, losses.values()))


def test_an_image_that_cannot_be_read(tmp_path: Path, caplog) -> None:
    data, run = shapes(tmp_path / "data"), tmp_path / "run"
    cfg = configured(data, run, "train.max_iter=9", "train.max_unreadable=0.5")
    setup = prepare(cfg)
    file = data / "train" / "3.png"
    file.write_bytes(file.read_bytes()[:900])
    with caplog.at_level(logging.WARNING):
        train(setup)
    assert caplog.text.count(f"{file} cannot be read") == 1
    state = checkpoint(run)
    assert list(state["unreadable"]) == [str(file)]
    cfg.train.update(max_unreadable=0.1, output_dir=str(tmp_path / "strict"))
    with pytest.raises(UserError, match="too many images") as error:
        train(setup)
    assert str(file) in str(error.value)
    assert "1 of 6" in str(error.value)


REFUSED_BY_THEIR_KEY = """
train.accumulate=0 train.seed=-1 train.max_iter=2.5 train.ema=1.5 train.clip_norm=-1
train.max_unreadable=2 train.freeze=backbone train.freeze=[3] train.precision=half
train.tracker=mlflow train.lr_batch_size=0 train.eval_period=-1 train.output_dir=null
train.output_dir= dataloader.train.num_workers=-1 lr_multiplier.warmup_iters=-1 lr_multiplier=null
optimizer.lr=inf optimizer=null model.backbone=null model.roi_heads=null
"""


@pytest.mark.parametrize(
    ("override", "named"),
    [
        *((override, override.partition("=")[0]) for override in REFUSED_BY_THEIR_KEY.split()),
        ("train.patience=2", "train.best"),
        ("train.best=segm/AP5", "segm/AP50"),
        ("train.best=keypoints/AP", "bbox/AP"),
        ("train.best=ema/bbox/AP", "bbox/AP"),
        ("train.best=segm/APl", "0 objects of 3 images"),
        ("train.best=bbox/AP-circle", "bbox/AP-square"),
        ("train.freeze=[bakbone.*]", "bakbone"),
        ("train.freeze=[*]", "nothing is left"),
        ("train.precision=float16", "bfloat16"),
        ("lr_multiplier.warmup_iters=x", "lr_multiplier"),
        ("optimizer.momentums=0.9", "optimizer"),
    ],
)
def test_mistakes_are_named(data: Path, tmp_path: Path, override: str, named: str) -> None:
    with pytest.raises(UserError) as error:
        trained(data, tmp_path / "run", override)
    assert named in str(error.value)
    assert error.value.key
    assert not list(tmp_path.glob("run/*.pth")), "before the first step"


def test_more_parts_of_a_config(data: Path, tmp_path: Path) -> None:
    """Norms and biases without decay, by the upstream's groups; bfloat16 on the CPU."""
    cfg = configured(data, tmp_path, "train.max_iter=2")
    assert OmegaConf.select(cfg, "optimizer.params.weight_decay_norm") == 0
    more = ("train.precision=bfloat16", "optimizer.params.weight_decay_bias=0.0")
    state = trained(data, tmp_path / "run", "train.max_iter=2", *more)
    decays = {group["weight_decay"] for group in state["optimizer"]["param_groups"]}
    assert decays == {0.0, 0.05}
    assert all(v.dtype != torch.bfloat16 for v in state["model"].values())
