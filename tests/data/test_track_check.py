"""The check of tracking sets: what it counts, finds and draws."""

import numpy as np
import pytest
from load_script import load_script
from PIL import Image
from track_sets import write_sequence, write_set

from stpn.data.check import tracks
from stpn.data.check.checking import check
from stpn.data.check.problems import LEAVES_OUT, STOPS
from stpn.data.check.report import draw, text
from stpn.data.check.sets import open_set
from stpn.errors import run_script

NAME = "my_tracks/val"


def boxes_of(length):
    t = np.arange(length)[:, None]
    return np.concatenate([10 + t % 9, 12 + t % 5, 14 + 0 * t, 11 + 0 * t], axis=1).astype(float)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two sound sequences of 24 and 21 frames."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    for name, length in (("S1", 24), ("S2", 21)):
        write_sequence(tmp_path / NAME / name, boxes_of(length), absence=[0] * (length - 2) + [1] * 2,
                       cover=[8] * (length - 3) + [0] * 3)
    (tmp_path / NAME / "list.txt").write_text("S1\nS2\n")
    return tmp_path / NAME


def findings():
    return {kind: [" ".join(one) for one in found] for kind, found in check(open_set(NAME)).findings.by_kind.items()}


def test_what_counts_as_short_is_what_a_training_leaves_out_by_default(root, monkeypatch):
    def longer(cfg, add=tracks.add_stpn_config):
        add(cfg)
        cfg.INPUT.TRACKING.MIN_LENGTH = 22

    assert findings() == {}
    monkeypatch.setattr(tracks, "add_stpn_config", longer)
    assert findings() == {"short sequence": [f"{NAME}/S2 21 frames, of which 18 show the target"]}


def test_a_sound_set_is_counted_and_has_no_problems(root):
    checked = open_set(NAME)
    result = check(checked, sample=None)
    assert not result.findings.by_kind and result.decoded == 45
    report = text(checked, result)
    assert "frames   45; labelled 45, of these without an object 6" in report
    assert "boxes    39" in report and "tracks   2" in report and "no problems" in report


def test_each_fault_is_found_while_the_rest_is_counted(root):
    (root / "S1/00000005.jpg").unlink()
    Image.new("RGB", (20, 30)).save(root / "S1/00000001.jpg")
    for name, boxes, labels in (
            ("S3", np.where(np.arange(22)[:, None] == 4, [[100.0, 5, 9, 9]], boxes_of(22)), {}),
            ("S4", boxes_of(22), {"absence": [0] * 20 + [1, 1], "cover": [8] * 21 + [0]}),
            ("S5", boxes_of(9), {}),
            ("S6", np.where(np.arange(22)[:, None] == 0, [[5.0, 5, 0, 9]], boxes_of(22)), {}),
            ("S7", boxes_of(22), {"cover": [0] * 22})):
        write_sequence(root / name, boxes, **labels)
    write_sequence(root / "S8", boxes_of(22))
    (root / "S8/groundtruth.txt").write_text("1,2,3\n" * 22)
    (root / "list.txt").write_text("".join(f"S{n}\n" for n in range(1, 10)))
    found = findings()
    assert found.pop("missing picture") == [f"{root}/S1/00000005.jpg frame 4 of {NAME}/S1"]
    assert found.pop("size")[0].startswith(f"{root}/S1/00000001.jpg the picture is 20x30")
    assert found.pop("box outside")[0].startswith(f"frame 4 of {NAME}/S3")
    assert found.pop("visibility") == [f"{NAME}/S4 1 frame, the first is line 21 of both files"]
    assert found.pop("short sequence") == [f"{NAME}/S5 9 frames, of which 9 show the target",
                                           f"{NAME}/S7 22 frames, of which 0 show the target"]
    assert found.pop("start")[0].startswith(f"{NAME}/S6 the box is 5, 5, 0, 9")
    assert found.pop("box degenerate")[0].startswith(f"frame 0 of {NAME}/S6")
    unreadable = found.pop("unreadable annotation")
    assert f"{root}/list.txt:9 there is no folder S9; add it, or take the line out" in unreadable
    assert any(line.startswith(f"{root}/S8/groundtruth.txt:1 has 3 columns") for line in unreadable)
    assert not found


def test_what_there_is_one_of_is_told_as_one(root):
    write_sequence(root / "S3", boxes_of(1))
    write_sequence(root / "S4", boxes_of(22))
    (root / "S4/groundtruth.txt").write_text("1,2,3\n" * 22)
    (root / "list.txt").write_text("S1\nS3\nS4\n")
    checked = open_set(NAME)
    report = text(checked, check(checked))
    assert "\nlabels   1 sequence cannot be read and is not counted above" in report
    assert "\n1 sequence with fewer than 20 frames" in report and "target; training leaves it out" in report
    assert f"{NAME}/S3: 1 frame, of which 1 shows the target" in report


def test_hidden_labels_are_no_problem(root, monkeypatch, tmp_path):
    for name in ("S1", "S2"):
        path = root / name / "groundtruth.txt"
        path.write_text(path.read_text().splitlines()[0] + "\n")
        for label in ("absence", "cover"):
            (root / name / f"{label}.label").unlink()
    (tmp_path / "got10k").mkdir()
    root.rename(tmp_path / "got10k/test")
    checked = open_set("got10k_test")
    result = check(checked)
    assert not result.findings.by_kind and "hidden but for the first box" in text(checked, result)
    assert draw(tmp_path / "sheet.png", checked, result.counts, frames=2) == 4
    # The first box is drawn: its colour is in the first tile of a sequence, not in the second.
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
    colourful = np.abs(sheet - sheet.mean(axis=2, keepdims=True)).max(axis=2) > 60
    assert colourful[:, :328].sum() > 100 > colourful[:, 336:].sum()


def test_a_set_that_never_shows_its_target_has_nothing_to_train_on(root):
    for name, length in (("S1", 24), ("S2", 21)):
        (root / name / "cover.label").write_text("0\n" * length)
        (root / name / "absence.label").write_text("1\n" * length)
    result = check(open_set(NAME))
    assert result.findings.count(STOPS) == 1 and result.findings.count(LEAVES_OUT) == 2
    assert result.findings.by_kind["no object"][0].message == "no frame of any sequence shows its target"


@pytest.mark.parametrize("change, code", [(lambda root: None, 0),
                                          (lambda root: (root / "S1/cover.label").write_text("8\n" * 24), 0),
                                          (lambda root: (root / "S1/cover.label").write_text("9\n" * 24), 3),
                                          (lambda root: (root / "S2/00000003.jpg").unlink(), 3),
                                          (lambda root: (root / "list.txt").write_text(""), 2)])
def test_exit_codes_of_the_script_are_those_of_other_sets(root, tmp_path, change, code, capsys):
    change(root)
    script = load_script("datasets/check.py")
    with pytest.raises(SystemExit) as end:
        run_script(lambda: script.main([NAME, "--output", str(tmp_path / "out")]))
    assert end.value.code == code
    if code != 2:
        assert (tmp_path / "out/my_tracks_val.txt").is_file()
        with Image.open(tmp_path / "out/my_tracks_val.png") as sheet:
            assert sheet.height > 200


def test_random_sets_are_read_by_check_as_by_the_loader(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    write_set(tmp_path / NAME, [5, 7], seed=3)
    checked = open_set(NAME)
    rows = (tmp_path / NAME / "S2/groundtruth.txt").read_text().split()
    covers, absences = ((tmp_path / NAME / f"S2/{name}.label").read_text().split() for name in ("cover", "absence"))
    for t in range(7):
        frame = checked.frame(5 + t, None)
        assert (frame.video_id, frame.index) == (f"{NAME}/S2", t)
        x, y, w, h = map(float, rows[t].split(","))
        shown = covers[t] != "0" and absences[t] == "0"
        assert [box.corners for box in frame.boxes] == ([pytest.approx((x, y, x + w, y + h))] if shown else [])
