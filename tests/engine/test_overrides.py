"""Overrides: what a value means, and that every value can be written."""

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from roilab.engine import config
from roilab.engine.overrides import choices, parse_value, split_override, write
from roilab.errors import UserError
from roilab.via import LabelRules

LEAF = "configs/mask_rcnn_R_50_FPN_1x.py"
HEADS = "model.roi_heads"
SCORE = f"{HEADS}.box_predictor.test_score_thresh"
PATHS: Any = str | Sequence[str | Sequence[str]]
CLASS_MAP_KEY = "data.train.rules.class_map"
CLASS_MAP: Any = Mapping[str, str | None] | None


def texts(**options: Any) -> st.SearchStrategy[str]:
    """Text with what an override could mistake.

    Without halves of characters, and the line break of which PyYAML makes a space.
    """
    special = st.text(st.sampled_from("ab1 ,=:[]{}()'\"\\$.\n#null"), **options)
    anything = st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0\x85"), **options
    )
    return (special | anything).filter(lambda text: text != "???")


def values() -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts()
    return st.recursive(
        plain,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(texts(max_size=5), inner, max_size=3)
        ),
        max_leaves=6,
    )


def meaning(text: str, kind: Any = Any) -> Any:
    return parse_value(text, "key", lambda _: kind)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-0.5", -0.5),
        (".5", 0.5),
        ("1e-4", 1e-4),
        ("1_000", 1000),
        ("inf", float("inf")),
        ("true", True),
        ("False", False),
        ("null", None),
        ("None", None),
        *((text, text) for text in ("", "007", "1.2.3", "TRUE", "roi_pool", '"a" and "b"')),
        ("'null'", "null"),
        ('"3"', "3"),
        (r'"a\"b\\c\d"', 'a"b\\c\\d'),
        ("[]", []),
        ("{}", {}),
        ("[1, a b,'c,d', [null]]", [1, "a b", "c,d", [None]]),
        ("[a[1], b]", ["a[1]", "b"]),
        ("{a: 1, b: {c: x:y}, 1: 'it''s'}", {"a": 1, "b": {"c": "x:y"}, "1": "'it''s'"}),
        ("{fenêtre (ouverte): fenêtre, ' a': null}", {"fenêtre (ouverte)": "fenêtre", " a": None}),
    ],
)
def test_values_of_a_key_that_says_nothing(text: str, value: Any) -> None:
    assert meaning(text) == value
    assert type(meaning(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", str | None, "3"),
        ("true", str, "true"),
        ("null", str | None, None),
        ('"null"', str | None, "null"),
        ("[a]", str, "[a]"),
        ("[a]", PATHS, ["a"]),
        ("[a](1)", PATHS, "[a](1)"),
        ("[a].json]", PATHS, "[a].json]"),
        ("[1, [2, 3.50]]", PATHS, ["1", ["2", "3.50"]]),
        ("[1, 2]", Sequence[str] | None, ["1", "2"]),
        ("{1: one, 2: 02, 3: null}", CLASS_MAP, {"1": "one", "2": "02", "3": None}),
        ("1", int | str, 1),
        ("error", Literal["error", "skip"], "error"),
        ("3", Path, "3"),
        ("3", Sequence[int], 3),
    ],
)
def test_a_key_of_text_takes_text_as_it_stands(text: str, kind: Any, value: Any) -> None:
    assert meaning(text, kind) == value


@pytest.mark.parametrize("text", ["[1,", "[1,,2]", "{a}", "{a: 1, a: 2}", "['a]", "[a]]", "[{]}"])
def test_a_list_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        meaning(text, list[int])
    with pytest.raises(UserError, match=r"(?s)cannot be read.*optimizer\.lr") as error:
        config.load_config(LEAF, [f"optimizer.lr={text}"])
    # The remedy gives the text.
    (word,) = shlex.split(str(error.value.remedy).rpartition("shell: ")[2])
    assert config.load_config(LEAF, [word]).optimizer.lr == text


@given(values())
def test_a_written_value_comes_back(value: Any) -> None:
    _, text = split_override(write("key", value))
    assert meaning(text) == value
    assert choices(f"key={text}") == [f"key={text}"], "of a sweep, too"


@given(texts())
def test_any_text_of_a_key_of_text_comes_back_as_it_was_typed(text: str) -> None:
    bare = text.strip()
    assume(bare not in ("null", "None") and not bare.startswith("${"))
    assume(not (bare[:1] in ("'", '"') and bare[-1:] == bare[:1]))
    assert meaning(text, str | None) == text
    if not bare.startswith(("[", "{")):
        assert meaning(text, PATHS) == text


@pytest.fixture(scope="module")
def cfg() -> Any:
    return config.load_config("configs/figures_mask.py")


@settings(max_examples=25, phases=[Phase.explicit, Phase.generate])  # it copies a whole config
@given(path=texts(), name=texts(min_size=1))
def test_paths_and_names_reach_the_data_set_and_the_run_folder(cfg, path: str, name: str) -> None:
    cfg = cfg.copy()
    given_values = {
        "train.output_dir": path,
        "data.train.files": path,
        "data.val.images": [path, path],
        "data.rules.class_attribute": name,
        "data.rules.default_class": name,
        "data.classes": [name, "other"],
        "data.rules.class_map": {name: path, path: None},
    }
    config.override(cfg, [write(key, value) for key, value in given_values.items()])
    saved = OmegaConf.create(config.yaml.safe_load(config.to_yaml(config.to_plain_data(cfg))))
    for loaded in (cfg, saved):
        read = OmegaConf.to_container(loaded, resolve=True)
        assert read["train"]["output_dir"] == read["data"]["train"]["files"] == path
        assert read["data"]["val"]["images"] == [path, path]
        for split_name in ("train", "val"):
            node = read["data"][split_name]
            rules = node["rules"]
            assert rules["class_attribute"] == rules["default_class"] == name
            assert node["classes"] == [name, "other"]
            assert rules["class_map"] == {name: path, path: None}


def test_rules_of_one_split_follow_the_shared_ones_where_they_say_nothing(cfg: Any) -> None:
    config.override(cfg := cfg.copy(), ["data.val.rules.default_class=cat"])
    config.override(cfg, ["data.rules.class_map={a: b}", "data.rules.default_class=dog"])
    train, val = (config.build(cfg.data[split].rules, "rules") for split in ("train", "val"))
    assert train == LabelRules(class_map={"a": "b"}, default_class="dog")
    assert val == LabelRules(class_map={"a": "b"}, default_class="cat")


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("data.train.files=via_region_data (10).json", "data.train.files", None),
        ("data.train.files=a, b=[c] 'd'.json", "data.train.files", None),
        ("data.train.images=写真/été", "data.train.images", None),
        ("data.rules.default_class=1", "data.rules.default_class", "1"),
        ("data.rules.class_attribute=2", "data.train.rules.class_attribute", "2"),
        ("data.classes=[1,2]", "data.val.classes", ["1", "2"]),
        ("data.rules.class_map={1: one, 2: two}", CLASS_MAP_KEY, {"1": "one", "2": "two"}),
        ('data.rules.class_map={"1": one}', CLASS_MAP_KEY, {"1": "one"}),
        ("data.rules.class_map.1=2", CLASS_MAP_KEY, {"1": "2"}),
        ("data={rules: {class_attribute: 1}, strict: true}", "data.val.rules.class_attribute", "1"),
        ("train.init_checkpoint=1", "train.init_checkpoint", "1"),
        ("train.max_iter=${train.seed}", "train.max_iter", 0),
        ("weights.mine.file=model.pth", "weights.mine.file", None),
        ("optimizer.lr=1", "optimizer.lr", 1),
        ("optimizer.lr=0.5", "optimizer.lr", 0.5),
        (f"{SCORE}=0", SCORE, 0),
        # An argument that its target accepts.
        (f"{HEADS}.mask_head.conv_norm=GN", f"{HEADS}.mask_head.conv_norm", None),
        ("evaluation.max_detections=1", "evaluation.max_detections", 1),
    ],
)
def test_what_a_user_types(text: str, key: str, value: Any) -> None:
    cfg = config.load_config(LEAF, [text])
    expected = text.partition("=")[2] if value is None else value
    assert OmegaConf.select(cfg, key) == expected


def test_a_key_has_no_value_or_that_of_another() -> None:
    keys = ("data.rules.class_map", f"{HEADS}.mask_in_features")
    more = ["train.seed=${train.log_period}", "train.log_period=7"]
    lists = ["data.classes=${train.may_differ}", "train.may_differ=[a,b]"]
    cfg = config.load_config(LEAF, [*(f"{key}=null" for key in keys), *more, *lists])
    assert [OmegaConf.select(cfg, key, default="no such key") for key in keys] == [None, None]
    assert (cfg.train.seed, cfg.data.classes) == (7, ["a", "b"])


def test_the_mark_of_a_missing_value_is_refused() -> None:
    with pytest.raises(UserError, match=r"\?\?\?"):
        config.load_config(LEAF, ["data.rules.default_class=???"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b=1,2", ["a.b=1", "a.b=2"]),
        ("a.b=[1,2],[3]", ["a.b=[1,2]", "a.b=[3]"]),
        ("a.b='x,y', z", ["a.b='x,y'", "a.b=z"]),
        ("a.b=rock 'n, roll", ["a.b=rock 'n", "a.b=roll"]),
        ("a.b=photos [1", ["a.b=photos [1"]),
        ("a.b={c: 1, d: 2}", ["a.b={c: 1, d: 2}"]),
    ],
)
def test_choices_of_a_sweep(text: str, expected: list[str]) -> None:
    assert choices(text) == expected


def test_an_empty_choice_says_how_to_write_a_comma() -> None:
    with pytest.raises(UserError, match="empty choice") as error:
        choices("data.train.files=a,.json,")
    written = str(error.value.remedy).rpartition("commas: ")[2]
    assert choices(written) == [written]
    assert meaning(split_override(written)[1], PATHS) == "a,.json,"


def test_a_shell_gives_back_what_was_printed() -> None:
    texts = ["a b", "it's", '"x"', "$HOME `ls`", "a\\b", "[1]", "é, ü=1", "new\nline", "!1 *"]
    words = [write("train.output_dir", text) for text in texts]
    loop = f"for word in {shlex.join(words)}; do printf '%s\\0' \"$word\"; done"
    said = subprocess.check_output(["sh", "-c", loop], text=True)
    again = said.split("\0")[:-1]
    assert again == words
    assert [meaning(split_override(word)[1], str) for word in again] == texts
