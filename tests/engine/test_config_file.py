"""Configuration files: plain data only, and every mistake is one line with a way out."""

import logging

import pytest

from stpn.engine import config_file
from stpn.engine.config_file import find_weights, flatten_config, load_config
from stpn.errors import InputError


@pytest.fixture
def write(tmp_path):
    def write(text, name="x.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def refusal(path, overrides=()):
    """The message of the one-line error that load_config must raise."""
    with pytest.raises(InputError) as error:
        load_config(path, overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_files_bases_and_overrides_win_in_that_order(write):
    write("SOLVER: {MAX_ITER: 10, BASE_LR: 1, STEPS: [3]}\nSEED: 1\nMODEL:\n", "base.yaml")
    write("_BASE_: base.yaml\nSOLVER:\n  MAX_ITER: 20\n  BASE_LR: 5e-5\n", "middle.yaml")
    path = write("_BASE_: [middle.yaml]\nSEED: 2\nMODEL: {STPN: {NUM_PROMPTS: 5}}\n")
    cfg = load_config(
        path, ["SEED", "3", "MODEL.STPN.PREDICTOR.NAME", "MixerPredictor", "SOLVER.WEIGHT_DECAY", "0"]
    )
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR, cfg.SOLVER.STEPS, cfg.SEED) == (20, 5e-5, (3,), 3)
    assert (cfg.MODEL.STPN.NUM_PROMPTS, cfg.MODEL.STPN.PREDICTOR.NAME) == (5, "MixerPredictor")
    assert cfg.SOLVER.WEIGHT_DECAY == 0 and isinstance(cfg.SOLVER.WEIGHT_DECAY, float)


def test_a_config_reads_like_detectron2_reads_it(write):
    """Against yacs's own merge, on every kind of value."""
    path = write(
        "MODEL: {MASK_ON: true, PIXEL_MEAN: [1.0, 2.0]}\n"
        "DATASETS:\n  TRAIN: ('a', 'b')\n  TEST: [c]\nOUTPUT_DIR: 'o'\nSOLVER:\n  BASE_LR: 1e-3\n"
    )
    theirs = load_config()
    theirs.merge_from_file(str(path), allow_unsafe=False)
    assert flatten_config(load_config(path)) == flatten_config(theirs)


@pytest.mark.parametrize("in_base", [False, True])
@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.mkdir ['{probe}']",
        "!!python/name:os.system",
        "!!python/tuple [1, 2]",
        "!eval x",
    ],
)
def test_python_tags_are_refused_and_not_run(write, tmp_path, in_base, tag):
    probe = tmp_path / "probe"
    path = write("SEED: 1\nOUTPUT_DIR: " + tag.format(probe=probe), "bad.yaml")
    if in_base:
        path = write("_BASE_: bad.yaml\nSEED: 2\n")
    text = refusal(path)
    assert "bad.yaml:2: refused" in text and tag.split()[0].split(":")[0].lstrip("!") in text
    assert not probe.exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SEED: 1\nMODEL:\n STPN:\n  DEP: 3\n", ":4: unknown key MODEL.STPN.DEP (nearest: MODEL.STPN.DEEP)"),
        ("MODEL:\n  NUM_PROMPTS: 3\n", ":2: unknown key MODEL.NUM_PROMPTS (nearest: MODEL.STPN.NUM_PROMPTS)"),
        ("solver:\n  max_iter: 3\n", ":2: unknown key solver.max_iter (nearest: SOLVER.MAX_ITER)"),
        ("MODEL:\n  WEIGHT: a.pth\n", ":2: the key MODEL.WEIGHT is now called MODEL.WEIGHTS"),
        ("SOLVER:\n  MAX_ITER: soon\n", ":2: SOLVER.MAX_ITER expects int like 40000, got 'soon' (str)"),
        ("SOLVER:\n  MAX_ITER: {a: 1}\n", "SOLVER.MAX_ITER"),
        ("MODEL: 3\n", ":1: MODEL is a section"),
        ("MODEL.MASK_ON: true\n", "write MODEL.MASK_ON as nested sections"),
        ("SEED: 1\n\nMODEL: [1,\n", ": not valid YAML"),
        ("a: b: c\n", ":1: not valid YAML"),
        ("- 1\n- 2\n", "expected KEY: VALUE"),
        ("qqqq: 1\n", ":1: unknown key qqqq (print"),
    ],
)  # fmt: skip
def test_mistakes_in_a_file_name_file_line_and_nearest_key(write, text, expected):
    path = write(text)
    message = refusal(path)
    assert message.startswith(str(path)) and expected in message


def test_mistakes_in_a_base_name_the_base(write):
    write("SOLVER:\n  MAX_ITR: 1\n", "base.yaml")
    assert "base.yaml:2: unknown key SOLVER.MAX_ITR" in refusal(write("_BASE_: base.yaml\n"))


def test_deprecated_and_renamed_keys_say_so(write, monkeypatch):
    def with_history(cfg):
        cfg.register_deprecated_key("MODEL.OLD")
        cfg.register_renamed_key("MODEL.FORMER", "MODEL.MASK_ON")

    monkeypatch.setattr(config_file, "add_stpn_config", with_history)
    assert "MODEL.OLD is deprecated" in refusal(write("MODEL:\n  OLD: 1\n"))
    assert "MODEL.FORMER is now called MODEL.MASK_ON" in refusal(write("MODEL:\n  FORMER: 1\n"))


def test_base_that_is_missing_or_goes_in_circles_has_a_plain_message(write, tmp_path):
    message = refusal(write("_BASE_: nowhere.yaml\n"))
    assert "_BASE_ names a missing file" in message and "nowhere.yaml" in message and "x.yaml" in message
    assert "circle: x.yaml -> x.yaml" in refusal(write("_BASE_: x.yaml\n"))
    write("_BASE_: b.yaml\n", "a.yaml")
    path = write("_BASE_: [a.yaml]\n", "b.yaml")
    assert "circle: b.yaml -> a.yaml -> b.yaml" in refusal(path)
    assert "must name files" in refusal(write("_BASE_: http://x/y.yaml\n"))
    (tmp_path / "noise.yaml").write_bytes(bytes(range(128, 256)))
    assert "not a text file" in refusal(write("_BASE_: noise.yaml\n"))


def test_base_outside_the_project_is_used_and_said(write, tmp_path, caplog, monkeypatch):
    # The temporary folder itself may lie in the checkout (bootstrap.py test).
    monkeypatch.setattr(config_file, "PROJECT", tmp_path / "project")
    (tmp_path / "elsewhere").mkdir()
    write("SEED: 5\n", "elsewhere/base.yaml")
    with caplog.at_level(logging.WARNING, logger="stpn"):
        assert load_config(write("_BASE_: elsewhere/base.yaml\n")).SEED == 5
    assert "outside the project" in caplog.text


def test_missing_config_lists_those_in_the_folder(write, tmp_path):
    write("SEED: 1\n", "one.yaml")
    assert "no such config file" in refusal(tmp_path / "two.yaml") and "one.yaml" in refusal(
        tmp_path / "two.yaml"
    )
    assert "configs in" in refusal(tmp_path / "no" / "two.yaml")
    assert "no such config file" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (["SEED"], "'SEED' has no value"),
        (["SEED=3"], "not KEY=VALUE"),
        (["SEED", "1", "MODEL.STPN.DEPTH", "2"], "unknown key MODEL.STPN.DEPTH"),
        (["MODEL.STPN.ENABLD", "1"], "nearest: MODEL.STPN.ENABLED"),
        (["MODEL.STPN.ENABLED", "yes"], "expects bool like True, got 'yes'"),
        (["MODEL.STPN", "1"], "is a section (keys: ENABLED"),
        (["SOLVER.BASE_LR", "nan"], "SOLVER.BASE_LR expects float"),
        (["SOLVER.BASE_LR", "__import__('os').getcwd()"], "SOLVER.BASE_LR expects float"),
        (["SEED", "{[]: 1}"], "SEED expects int"),
        (["_BASE_", "x.yaml"], "unknown key _BASE_"),
        (["SEED.X", "1"], "unknown key SEED.X"),
    ],
)
def test_mistakes_in_overrides(pairs, expected):
    assert expected in refusal(None, pairs)


def test_text_overrides_are_not_evaluated(tmp_path):
    command = f"__import__('os').mkdir({str(tmp_path / 'probe')!r})"
    assert load_config(None, ["OUTPUT_DIR", command]).OUTPUT_DIR == command
    assert not (tmp_path / "probe").exists()


def test_weights_are_looked_up_in_the_working_folder_then_in_the_project(tmp_path, monkeypatch):
    project, here = tmp_path / "project", tmp_path / "here"
    for folder in (project / "weights", here / "weights"):
        folder.mkdir(parents=True)
    (project / "weights" / "a.safetensors").touch()
    monkeypatch.setattr(config_file, "PROJECT", project)
    monkeypatch.chdir(here)
    assert find_weights("weights/a.safetensors") == str(project / "weights" / "a.safetensors")
    (here / "weights" / "a.safetensors").touch()
    assert find_weights("weights/a.safetensors") == "weights/a.safetensors"
    for name in ("", "weights/b.safetensors", "/abs/c.pth", "https://x/y.pth"):
        assert find_weights(name) == name
    cfg = load_config(None, ["MODEL.WEIGHTS", "weights/b.safetensors"])
    assert cfg.MODEL.WEIGHTS == "weights/b.safetensors"


def test_every_shipped_config_loads():
    for path in sorted((config_file.PROJECT / "configs").rglob("*.yaml")):
        if "studies" not in path.parts:  # which name configurations
            load_config(path)
