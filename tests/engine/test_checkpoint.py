"""Checkpoints are whole or absent, and loading one runs nothing."""

import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn

from roilab.engine import checkpoint
from roilab.engine.build_model import load_weights
from roilab.engine.checkpoint import Checkpointer, InitialWeights, patterns_of
from roilab.errors import UserError

from .hostile import Evil


def test_what_is_saved_is_loaded(tmp_path) -> None:
    first, second, path = nn.Linear(3, 2), nn.Linear(3, 2), tmp_path / "model_1.pth"
    checkpoint.save_atomically({"model": first.state_dict(), "iteration": 7}, path)
    extra = Checkpointer(second, InitialWeights(str(path))).load(str(path))
    assert torch.equal(first.weight, second.weight)
    assert extra["iteration"] == 7


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "model.pth"
    checkpoint.save_atomically({"a": torch.ones(1)}, path)

    def fail(data, file) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save_atomically({"a": torch.zeros(1)}, path)
    assert torch.equal(checkpoint.read_checkpoint(path)["a"], torch.ones(1))
    assert [file.name for file in tmp_path.iterdir()] == ["model.pth"]


def test_a_file_with_code_is_refused(tmp_path) -> None:
    content = {"model": Evil(tmp_path / "mark"), "__author__": "x"}
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.read_checkpoint(tmp_path / "bad.pth")
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(content))
    weights = InitialWeights(str(tmp_path / "bad.pkl"))
    with pytest.raises(UserError, match="arrays only"):
        Checkpointer(nn.Linear(1, 1), weights).load(weights.source)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_model_zoo_pkl_loads(tmp_path, protocol: int) -> None:
    model = nn.Linear(3, 2)
    arrays = {name: np.full(p.shape, 2.0, "float32") for name, p in model.named_parameters()}
    path = tmp_path / "zoo.pkl"
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "zoo"}, protocol=protocol))
    load_weights(model, InitialWeights(str(path)))
    assert torch.equal(model.weight, torch.full((2, 3), 2.0))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02]q\x00.", b"version https://", None])
def test_what_is_no_pth_is_named(tmp_path, content: bytes | None) -> None:
    path = tmp_path / "odd.pth"
    if content is None:  # it is cut short
        checkpoint.save_atomically({"a": torch.ones(1000)}, path)
        content = path.read_bytes()[:500]
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read") as caught:
        checkpoint.read_checkpoint(path)
    assert "odd.pth" in str(caught.value)
    assert caught.value.found
    with pytest.raises(UserError, match=r"lost\.pth"):
        checkpoint.read_checkpoint(tmp_path / "lost.pth")


@pytest.mark.parametrize("content", [b"", pickle.dumps([1, 2]), pickle.dumps({"model": None})])
def test_a_pkl_without_named_arrays_is_named(tmp_path, content: bytes) -> None:
    path = tmp_path / "odd.pkl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"odd\.pkl"):
        Checkpointer(nn.Linear(1, 1), InitialWeights(str(path))).load(str(path))


def test_patterns_match_the_names_and_no_others() -> None:
    names = ["a.head.w", "a.head.b", "a.body.w", "new.x.w", "new.y.w"]
    assert patterns_of(names, ["a.body.b", "a.neck.w"]) == ["a.body.w", "a.head.*", "new.*"]


class Net(nn.Module):
    """Twenty layers below one name, so that listing them takes more than a message shows."""

    def __init__(self, outputs: int, *, layer: str = "layer") -> None:
        super().__init__()
        self.body = nn.Linear(3, 3)
        self.heads = nn.ModuleDict({f"{layer}{i}": nn.Linear(3, outputs) for i in range(20)})


def test_the_remedy_of_weights_that_do_not_fit_is_whole(tmp_path) -> None:
    """Followed, it is enough, however many names differ."""
    file = str(tmp_path / "weights.pth")
    for other in (Net(4), Net(2, layer="new")):
        torch.save(other.state_dict(), file)
        model = Net(2)
        with pytest.raises(UserError) as caught:
            load_weights(model, InitialWeights(file))
        may_differ = re.search(r"'train\.may_differ=\[(.*)\]'", caught.value.remedy)[1]
        load_weights(model, InitialWeights(file, may_differ.split(", ")))
        assert torch.equal(model.body.weight, other.body.weight)


def test_weights_of_another_kind_of_model_are_not_excused(tmp_path) -> None:
    file = str(tmp_path / "weights.pth")
    torch.save({"conv1.weight": torch.ones(2), "fc.weight": torch.ones(2)}, file)
    with pytest.raises(UserError, match="of another kind of model") as caught:
        load_weights(Net(2), InitialWeights(file))
    assert "may_differ" not in caught.value.remedy
