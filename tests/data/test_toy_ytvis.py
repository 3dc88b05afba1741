"""The toy set in YouTube-VIS layout reads back, through the YouTube-VIS reader, as what was generated."""

import json

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from pycocotools import mask as coco_mask

from stpn.data import read_image, toy
from stpn.data.builtin import register_all
from stpn.data.toy_layout import write_toy
from stpn.data.toy_ytvis import write_toy_ytvis
from stpn.errors import InputError

SEED = 3  # its first training video has two objects


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "toy_ytvis"
    write_toy_ytvis(root, split="val", videos=2, seed=SEED)
    write_toy_ytvis(root, split="still", videos=2, seed=SEED)
    return write_toy_ytvis(root, split="train", videos=1, seed=SEED)


@pytest.fixture
def registered(root, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root.parent))
    register_all()


def generated(split, number):
    return toy.still_image(SEED, number) if split == "still" else toy.render_video(SEED, split, number)


@pytest.mark.parametrize("split, videos", [("train", 1), ("val", 2), ("still", 2)])
def test_sets_load_by_their_names_with_the_generated_masks_boxes_and_groups(registered, split, videos):
    dicts, metadata = DatasetCatalog.get(f"toy_ytvis_{split}"), MetadataCatalog.get(f"toy_ytvis_{split}")
    assert len(dicts) == videos and metadata.evaluator_type == "ytvis" and metadata.has_labels
    assert metadata.thing_classes == list(toy.CLASSES)
    for number, found in enumerate(dicts):
        video = generated(split, number)
        assert (found["height"], found["width"], found["length"]) == (*video.frames[0].shape[:2], len(video.frames))
        paths = [metadata.video_index.path(found["video_id"], t) for t in range(found["length"])]
        for t, (path, picture, annotations) in enumerate(zip(paths, video.frames, found["annotations"], strict=True)):
            assert [a["category_id"] for a in annotations] == [obj.label for obj in video.objects]
            for a, mask in zip(annotations, video.masks(t), strict=True):
                assert np.array_equal(coco_mask.decode(a["segmentation"]), mask)
                rows, columns = np.nonzero(mask)
                assert a["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            if t in (0, 31):  # Bound: colour is stored at half resolution, which costs most of this at edges.
                assert np.abs(read_image(path).astype(int) - picture).mean() < 12
        members = {group: ids.get(found["json_id"], []) for group, ids in metadata.frame_groups.items()}
        for group, frames in members.items():
            wanted = {"clean": ["clean"], "deteriorated": set(video.deterioration) - {"clean"}}.get(group, [group])
            assert frames == [t for t, state in enumerate(video.deterioration) if state in wanted]


def test_json_has_the_fields_of_youtube_vis_and_exact_areas(root):
    content = json.loads((root / "valid.json").read_text())
    assert content.keys() >= {"info", "licenses", "videos", "categories", "annotations"}
    assert [c["id"] for c in content["categories"]] == list(range(1, 9))
    assert [v["file_names"][31] for v in content["videos"]] == [f"toy_val_0000000{n}/00031.jpg" for n in range(2)]
    assert [a["id"] for a in content["annotations"]] == list(range(1, len(content["annotations"]) + 1))
    for a in content["annotations"]:
        masks = [coco_mask.decode(code) for code in a["segmentations"]]
        assert a["areas"] == [mask.sum() for mask in masks] and a["length"] == len(masks) == len(a["bboxes"])


def test_a_frame_in_which_nothing_of_an_object_is_seen_is_null_in_all_three_lists():
    from stpn.data.toy_ytvis import _shapes

    seen = np.zeros((6, 8), bool)
    seen[2:4, 3:7] = True
    found = _shapes([seen, np.zeros_like(seen)])
    assert found["areas"] == [8, None] and found["bboxes"] == [[3, 2, 4, 2], None]
    assert found["segmentations"][1] is None and np.array_equal(coco_mask.decode(found["segmentations"][0]), seen)


def test_the_videos_are_those_of_the_other_layout(root, tmp_path):
    other = write_toy(tmp_path / "toy_vid", split="val", videos=1, seed=SEED)
    theirs = sorted((other / "Data" / "VID" / "val" / "toy_val_00000000").iterdir())
    ours = sorted((root / "valid" / "JPEGImages" / "toy_val_00000000").iterdir())
    assert [p.read_bytes() for p in ours] == [p.read_bytes() for p in theirs]


def test_complete_set_is_kept_and_another_or_another_layout_refused(root, tmp_path):
    stamp = (root / "toy_val.json").stat().st_mtime_ns
    assert write_toy_ytvis(root, split="val", videos=2, seed=SEED) == root
    assert (root / "toy_val.json").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="holds another toy set.*delete"):
        write_toy_ytvis(root, split="val", videos=2, seed=8)
    still = write_toy(tmp_path / "toy", split="still", videos=1, seed=SEED)
    with pytest.raises(InputError, match="another layout; choose another folder"):
        write_toy_ytvis(still, split="val", videos=1, seed=SEED)
    assert not list(root.parent.glob("*.tmp"))


@pytest.mark.parametrize("kept", [False, True])
def test_interrupted_writing_leaves_nothing_that_looks_whole(tmp_path, monkeypatch, kept):
    def fail(seed, split, number):
        if number == 1:
            raise KeyboardInterrupt
        return toy.render_video(seed, split, number)

    if kept:
        write_toy_ytvis(tmp_path / "set", split="still", videos=1, seed=0)
    before = sorted((tmp_path / "set").rglob("*"))
    monkeypatch.setattr("stpn.data.toy_files.render_video", fail)
    with pytest.raises(KeyboardInterrupt):
        write_toy_ytvis(tmp_path / "set", split="val", videos=2, seed=0)
    assert sorted((tmp_path / "set").rglob("*")) == before
    monkeypatch.undo()
    write_toy_ytvis(tmp_path / "set", split="val", videos=1, seed=0)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
