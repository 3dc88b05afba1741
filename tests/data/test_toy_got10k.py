"""The toy set in GOT-10k layout reads back, through the GOT-10k reader, as what was generated."""

import json

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from stpn.data import VideoIndex, read_image, toy_track
from stpn.data.builtin import register_all
from stpn.data.datasets import load_got10k
from stpn.data.toy import CLASSES
from stpn.data.toy_got10k import write_toy_got10k
from stpn.data.toy_layout import write_toy
from stpn.errors import InputError

SEED = 4


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "toy_got10k"
    write_toy_got10k(root, split="val", videos=3, seed=SEED)
    return write_toy_got10k(root, split="train", videos=1, seed=SEED)


@pytest.mark.parametrize("split, videos", [("train", 1), ("val", 3)])
def test_sequences_load_with_the_generated_labels_and_pictures(root, split, videos):
    index = VideoIndex()
    dicts, _ = load_got10k(root / split, name=f"toy_got10k/{split}", video_index=index)
    assert [d["name"] for d in dicts] == [f"toy_{split}_{number:06d}" for number in range(1, videos + 1)]
    for number, found in enumerate(dicts):
        wanted = toy_track.render_sequence(SEED, split, number)
        assert (found["video_length"], found["width"], found["height"]) == (len(wanted.frames), 160, 160)
        assert np.abs(found["boxes"] - wanted.boxes).max() <= 5e-5  # four decimals
        assert np.array_equal(found["cover"], wanted.cover) and np.array_equal(found["absent"], wanted.cover == 0)
        cut = np.loadtxt(root / split / found["name"] / "cut_by_image.label")
        assert np.array_equal(cut.astype(bool), wanted.cut)
        for t in (0, len(wanted.frames) - 1):  # Bound: colour is stored at half resolution, which costs most of this.
            picture = read_image(index.path(found["video_id"], t)).astype(int)
            assert np.abs(picture - wanted.frames[t]).mean() < 14


def test_groups_hold_every_frame_that_shows_the_target_and_no_other(root):
    groups = json.loads((root / "val" / "groups.json").read_text())
    for number in range(3):
        wanted, name = toy_track.render_sequence(SEED, "val", number), f"toy_val_{number + 1:06d}"
        frames = {group: found.get(name, []) for group, found in groups.items()}
        assert frames["clean"] == [t for t, state in enumerate(wanted.states) if state == "clean"]
        assert sorted(frames["clean"] + frames["deteriorated"]) == np.flatnonzero(wanted.cover).tolist()
        for kind in frames.keys() - {"clean", "deteriorated"}:
            assert frames[kind] == [t for t, state in enumerate(wanted.states) if state == kind]


def test_sets_load_by_their_names_with_their_groups(root, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root.parent))
    register_all()
    for split, videos in (("train", 1), ("val", 3)):
        dicts, metadata = DatasetCatalog.get(f"toy_got10k_{split}"), MetadataCatalog.get(f"toy_got10k_{split}")
        assert len(dicts) == videos and metadata.evaluator_type == "got10k" and metadata.has_labels
        groups = json.loads((root / split / "groups.json").read_text())
        assert metadata.frame_groups.keys() == groups.keys() >= {"clean", "deteriorated"}


def test_meta_info_names_the_resolution_and_the_pattern_as_got10k_does(root):
    lines = (root / "val" / "toy_val_000001" / "meta_info.ini").read_text().splitlines()
    wanted = toy_track.render_sequence(SEED, "val", 0)
    label = wanted.scene.objects[wanted.scene.target].label
    assert lines[0] == "[METAINFO]" and lines[5] == f"object_class: {CLASSES[label]}"
    assert lines[10] == "resolution: (160, 160)" and all(": " in line for line in lines[1:])


def test_complete_set_is_kept_and_another_or_another_layout_refused(root, tmp_path):
    stamp = (root / "toy_val.json").stat().st_mtime_ns
    assert write_toy_got10k(root, split="val", videos=3, seed=SEED) == root
    assert (root / "toy_val.json").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="holds another toy set.*delete"):
        write_toy_got10k(root, split="val", videos=3, seed=8)
    still = write_toy(tmp_path / "toy", split="still", videos=1, seed=SEED)
    with pytest.raises(InputError, match="another layout; choose another folder"):
        write_toy_got10k(still, split="val", videos=1, seed=SEED)
    assert not list(root.parent.glob("*.tmp"))


def test_interrupted_writing_leaves_nothing_that_looks_whole(tmp_path, monkeypatch):
    def fail(seed, split, number):
        if number == 1:
            raise KeyboardInterrupt
        return toy_track.render_sequence(seed, split, number)

    monkeypatch.setattr("stpn.data.toy_got10k.render_sequence", fail)
    with pytest.raises(KeyboardInterrupt):
        write_toy_got10k(tmp_path / "set", split="val", videos=2, seed=0)
    assert not (tmp_path / "set").exists()
    monkeypatch.undo()
    write_toy_got10k(tmp_path / "set", split="val", videos=1, seed=0)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
