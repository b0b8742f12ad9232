"""Whatever a file holds, it is read or refused with a message; nothing is lost in silence."""

import copy
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from roilab.errors import UserError
from roilab.via import read

from .fuzzing import examine, fuzz, seeds, spoil_tree

INPUTS = int(os.environ.get("ROILAB_FUZZ_INPUTS", "20000"))
SEED = int(os.environ.get("ROILAB_FUZZ_SEED", "0"))


def test_spoilt_files_are_read_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # thousands of files wait for the disk
    outcomes = fuzz(INPUTS, SEED)
    assert sum(outcomes.values()) == INPUTS
    # If nearly all were refused at once, the readers behind would not be tried.
    assert outcomes["read"] + outcomes["read with errors"] > INPUTS / 4


@pytest.mark.parametrize("content", seeds())
def test_what_is_spoilt_was_sound(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "sound"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    if isinstance(content, dict) and set(content) == {"region", "file"}:
        assert examine(path) == "refused"
    else:
        assert read(path).images
        assert examine(path).startswith("read")


def raw_regions(data: Any) -> int:
    """Regions of the entries that can be known for such."""
    entries = [
        entry
        for entry in data.values()
        if isinstance(entry, dict)
        and isinstance(entry.get("filename"), str)
        and entry["filename"].strip()
    ]
    regions = [entry.get("regions") for entry in entries]
    return sum(len(value) for value in regions if isinstance(value, list | dict))


def test_no_region_is_lost_in_silence(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    path = tmp_path / "via.json"
    counted = 0
    for _ in range(1000):
        data = spoil_tree(copy.deepcopy(seeds()[0]), chance)
        if not isinstance(data, dict) or not all(
            isinstance(entry, dict) and {"filename", "regions"} <= set(entry)
            for entry in data.values()
        ):
            continue
        path.write_text(json.dumps(data), encoding="utf-8")
        try:
            annotations = read(path)
        except UserError:
            continue
        region_count = sum(len(image.regions) for image in annotations.images)
        refused = [
            problem
            for problem in annotations.problems
            if problem.severity == "error"
            and problem.region is not None
            and problem.attribute is None
        ]
        assert region_count + len(refused) == raw_regions(data), path.read_text(encoding="utf-8")
        counted += 1
    assert counted > 500
