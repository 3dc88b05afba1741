"""The toy set on disk reads back, through the ImageNet VID reader, as what was generated."""

import json
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from stpn.data import VideoIndex, read_image, toy
from stpn.data.builtin import register_all
from stpn.data.datasets import load_imagenet_vid
from stpn.data.toy_layout import write_toy
from stpn.errors import InputError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy") / "toy_vid"
    write_toy(root, split="val", videos=2, seed=7)
    return write_toy(root, split="train", videos=1, seed=7)


@pytest.mark.parametrize("names, split, videos", [
    (["VID_val_videos"], "val", 2), (["VID_val_frames"], "val", 2),
    (["VID_train_frames"], "train", 1), (["VID_train_videos"], "train", 1)])
def test_every_list_gives_the_generated_videos(root, names, split, videos):
    index = VideoIndex()
    dicts, metadata = load_imagenet_vid(root, names, video_index=index)
    expected = [toy.render_video(7, split, number) for number in range(videos)]
    assert metadata["thing_classes"] == list(toy.CLASSES)
    assert [d["frame_index"] for d in dicts] == list(range(toy.FRAMES)) * videos
    assert [d["image_id"] for d in dicts] == list(range(1, len(dicts) + 1))
    boxes = [[(a["track_id"], a["category_id"], *a["bbox"]) for a in d["annotations"]] for d in dicts]
    assert boxes == [frame for video in expected for frame in video.boxes]
    states = [state for video in expected for state in video.deterioration]
    groups = metadata["frame_groups"]
    assert groups["clean"] == [i for i, state in enumerate(states, 1) if state == "clean"]
    assert sorted(groups["clean"] + groups["deteriorated"]) == list(range(1, len(states) + 1))
    for kind in set(groups) - {"clean", "deteriorated"}:
        assert [states[i - 1] for i in groups[kind]] == [kind] * len(groups[kind])


def test_pictures_survive_the_jpeg(root):
    folder = root / "Data" / "VID" / "val" / "toy_val_00000001"
    video = toy.render_video(7, "val", 1)
    assert len(list(folder.iterdir())) == toy.FRAMES
    for i in (0, 31):
        stored = read_image(folder / f"{i:06d}.JPEG").astype(int)
        # Bound: colour is stored at half resolution, which costs most of this at the objects' edges.
        assert np.abs(stored - video.frames[i]).mean() < 12


def test_complete_set_is_kept_and_another_refused(root):
    stamp = root / "toy_val.json"
    before = stamp.stat().st_mtime_ns
    assert write_toy(root, split="val", videos=2, seed=7) == root
    assert stamp.stat().st_mtime_ns == before
    with pytest.raises(InputError, match="holds another toy set.*delete"):
        write_toy(root, split="val", videos=2, seed=8)
    with pytest.raises(InputError, match="choose another folder"):
        write_toy(root, split="still", videos=1, seed=7)
    assert not list(root.parent.glob("*.tmp"))


def test_interrupted_writing_leaves_nothing_that_looks_whole(tmp_path, monkeypatch):
    def fail(seed, split, number):
        if number == 1:
            raise KeyboardInterrupt
        return toy.render_video(seed, split, number)

    monkeypatch.setattr("stpn.data.toy_files.render_video", fail)
    with pytest.raises(KeyboardInterrupt):
        write_toy(tmp_path / "set", split="val", videos=2, seed=0)
    assert not (tmp_path / "set").exists()
    monkeypatch.undo()
    write_toy(tmp_path / "set", split="val", videos=1, seed=0)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_stills_are_training_videos_of_one_frame(tmp_path):
    root = write_toy(tmp_path / "toy_still", split="still", videos=3, seed=0)
    dicts, _ = load_imagenet_vid(Path(root), ["VID_train_frames"], video_index=VideoIndex())
    assert [(d["video_length"], d["width"], len(d["annotations"])) for d in dicts] == [(1, 144, 4)] * 3
    groups = json.loads((root / "ImageSets" / "VID" / "VID_train_frames_groups.json").read_text())
    assert groups == {"clean": [1, 2, 3]}


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_same_seed_writes_the_same_bytes_and_another_seed_other_pictures(tmp_path):
    first, again, other = (contents(write_toy(tmp_path / name, split="val", videos=1, seed=seed))
                           for name, seed in (("first", 7), ("again", 7), ("other", 8)))
    assert first == again and first.keys() == other.keys()
    pictures = [name for name in first if name.endswith(".JPEG")]
    assert len(pictures) == toy.FRAMES and all(first[name] != other[name] for name in pictures)


def test_sets_load_by_their_names_with_all_frames_and_groups(root, tmp_path, monkeypatch):
    (tmp_path / "toy_vid").symlink_to(root)
    write_toy(tmp_path / "toy_still", split="still", videos=3, seed=7)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    register_all()
    for name, videos, frames in (("toy_vid_val", 2, 64), ("toy_vid_train", 1, 32), ("toy_still_train", 3, 3)):
        dicts, metadata = DatasetCatalog.get(name), MetadataCatalog.get(name)
        assert len(dicts) == frames == len({d["image_id"] for d in dicts})
        assert len({d["video_id"] for d in dicts}) == videos == len(metadata.video_index)
        assert all(Path(d["file_name"]).is_file() for d in dicts)
        assert metadata.thing_classes == list(toy.CLASSES) and metadata.evaluator_type == "imagenet_vid"
        groups = metadata.frame_groups
        assert sorted(groups["clean"] + groups.get("deteriorated", [])) == sorted(d["image_id"] for d in dicts)
        assert ("deteriorated" in groups) == (name != "toy_still_train")


def test_a_folder_that_is_no_toy_set_is_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(InputError, match="not a toy set"):
        write_toy(tmp_path, split="val", videos=1, seed=0)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]
