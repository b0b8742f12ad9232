"""The digests of run.json: damage is noticed, a write that is cut is none."""

import json
import os
from pathlib import Path

import pytest
import torch

from roilab import files
from roilab.engine import checkpoint, run_record
from roilab.engine.run_folder import Run, verify_run
from roilab.engine.run_record import read_record, write_record
from roilab.engine.train_state import newest
from roilab.errors import UserError


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two classes and a checkpoint, each with a digest."""
    write_record(tmp_path, {"layout": 1, "starts": [], "files": {}})
    run = Run(tmp_path)
    run.write({"classes.json": '["a", "b"]', "config.yaml": "model: {}\n"})
    checkpoint.save_atomically({"iteration": 1}, tmp_path / "model_final.pth")
    return run


def kinds(run: Run) -> dict[str, str]:
    return {state.name: state.kind for state in verify_run(run.folder)}


def test_every_byte_of_a_file_and_of_the_record_is_checked(run: Run) -> None:
    for name in ("classes.json", "run.json"):
        path = run.folder / name
        content = path.read_bytes()
        for place in range(len(content)):
            damaged = bytearray(content)
            damaged[place] ^= 1
            path.write_bytes(damaged)
            with pytest.raises(UserError) as caught:
                run.classes()
            assert caught.value.file == path
            assert caught.value.remedy
        path.write_bytes(content)
    assert run.classes() == ("a", "b")


def test_files_that_were_mixed_up_are_noticed(run: Run) -> None:
    checkpoint.save_atomically({"iteration": 0}, run.folder / "model_0000000.pth")
    (run.folder / "model_0000000.pth").replace(run.weights)
    with pytest.raises(UserError, match="not as it was written"):
        checkpoint.read_checkpoint(run.folder / "model_final.pth")
    assert kinds(run)["model_final.pth"] == "damaged"
    assert kinds(run)["model_0000000.pth"] == "removed"


@pytest.mark.parametrize("new", [False, True])
def test_a_write_that_is_cut_leaves_a_sound_folder(run: Run, new: bool, monkeypatch) -> None:
    """Cut before and after each step, of a file that was there and of one that was not."""
    name = "category_ids.json" if new else "classes.json"
    steps = 0
    for cut in range(7):
        before = (run.folder / name).read_text() if (run.folder / name).exists() else None
        with monkeypatch.context() as patch:
            _cut(patch, cut)
            try:
                run.write({name: f'["{cut}", "b"]'})
            except KeyboardInterrupt:
                steps += 1
        assert set(kinds(run).values()) == {"sound"}, (cut, read_record(run.folder)["files"])
        assert not new or run_record.optional_exists(run.folder / name) or before is None
    assert steps == 6  # three files that are written, each cut before and after


def _cut(patch: pytest.MonkeyPatch, at: int) -> None:
    """Interrupt the writing at a step, as a kill of the process would."""
    left = [at]
    write = files.write_whole

    def step() -> None:
        if not left[0]:
            left[0] -= 1
            raise KeyboardInterrupt
        left[0] -= 1

    def written(path: Path, content: bytes | str) -> None:
        step()
        write(path, content)
        step()

    patch.setattr("roilab.engine.run_record.write_whole", written)
    patch.setattr("roilab.engine.run_folder.write_whole", written)


def test_a_checkpoint_that_is_cut_leaves_a_sound_folder(run: Run, monkeypatch) -> None:
    for cut in range(5):
        with monkeypatch.context() as patch:
            _cut(patch, cut)
            try:
                checkpoint.save_atomically({"iteration": 10 + cut}, run.weights)
            except KeyboardInterrupt:
                assert cut < 4
        assert set(kinds(run).values()) == {"sound"}, cut


def test_what_was_changed_on_purpose_is_accepted(run: Run) -> None:
    run.config_file.write_text("model: {a: 1}\n")
    with pytest.raises(UserError, match=r'accept=\["config\.yaml"\]'):
        run_record.read_verified(run.config_file)
    run_record.accept(run.folder, ["config.yaml"])
    assert run_record.read_verified(run.config_file) == b"model: {a: 1}\n"
    assert not run_record.is_as_written(run.config_file)
    (run.folder / "classes.json").unlink()
    with pytest.raises(UserError, match="gone"):
        run_record.optional_exists(run.folder / "classes.json")
    run_record.accept(run.folder, ["classes.json"])
    assert not run_record.optional_exists(run.folder / "classes.json")
    run.write({"config.yaml": "model: {b: 1}\n"})
    assert run_record.is_as_written(run.config_file)


@pytest.mark.parametrize("digests", [[], ["absent"], ["0"], ["x-00000000"], ["1-2\n3"]])
def test_a_file_in_the_record_has_a_digest(run: Run, digests: list[str]) -> None:
    write_record(run.folder, {"layout": 1, "files": {"config.yaml": digests}})
    with pytest.raises(UserError, match="damaged"):
        read_record(run.folder)


@pytest.mark.parametrize("name", ["../config.yaml", "/etc/hostname", "", "..", "run.json"])
def test_only_files_of_the_folder_have_digests(run: Run, name: str) -> None:
    with pytest.raises(UserError, match="not a file with a digest"):
        run_record.accept(run.folder, [name])
    if name != "run.json":
        write_record(run.folder, {"layout": 1, "files": {name: ["0-00000000"]}})
        with pytest.raises(UserError, match="damaged"):
            read_record(run.folder)


def test_a_folder_without_digests_is_read_as_before(run: Run, caplog) -> None:
    run.provenance_file.write_text(json.dumps({"layout": 1, "starts": []}))
    assert run.classes() == ("a", "b")
    assert set(kinds(run).values()) == {"unverified"}
    run_record.accept(run.folder, [name for name in kinds(run) if name != "run.json"])
    assert set(kinds(run).values()) == {"sound"}


def test_a_checkpoint_without_a_digest_has_its_own_sums(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model": {"a": torch.arange(1000.0)}}, path)
    content = bytearray(path.read_bytes())
    place = content.index(torch.arange(1000.0).numpy().tobytes()[400:440])
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="checksum"):
        checkpoint.read_checkpoint(path)


def test_files_from_before_torch_1_6_have_none(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    assert torch.equal(checkpoint.read_checkpoint(path)["a"], torch.ones(3))


def test_a_pipe_as_checkpoint_is_not_waited_for(run: Run) -> None:
    path = run.folder / "model_0000009.pth"
    os.mkfifo(path)
    with pytest.raises(UserError, match="no plain file"):
        checkpoint.read_checkpoint(path)
    assert kinds(run)[path.name] == "damaged"
    assert newest(run) == run.folder / "model_final.pth"
