import hashlib
import json
import logging
import os
import re
import shutil

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from stpn.data import builtin
from stpn.data.datasets import annotation_cache, image_sets, imagenet_vid, key_frames, load_imagenet_det
from stpn.data.datasets.imagenet_vid import load_imagenet_vid
from stpn.data.video import VideoIndex
from stpn.errors import InputError


def load(root, stem, **options):
    index = VideoIndex()
    dicts, metadata = load_imagenet_vid(root, (stem,), video_index=index, **options)
    return dicts, metadata, index


# ---- the 15-frame list


def test_fifteen_frames_match_the_published_list_for_every_length(fixtures_dir):
    table = json.loads((fixtures_dir / "vod" / "sampling" / "vid15.json").read_text())
    assert len(table) > 700
    assert all(key_frames.fifteen_frames(int(length)) == frames for length, frames in table.items())


@pytest.mark.parametrize("videos_list", [True, False])
def test_missing_15_frame_list_is_generated_from_the_videos(tiny_root, layout, videos_list):
    layout.video(tiny_root, "train/z", length=17)
    (tiny_root / "ImageSets" / "VID" / "VID_train_15frames.txt").unlink()
    if videos_list:
        layout.list(tiny_root, "VID_train_videos", ["train/z 1 0 17", "train/a 1 0 4"])
    dicts, _, _ = load(tiny_root, "VID_train_15frames")
    listed = [(d["video_id"], d["frame_index"]) for d in dicts]
    others = [("train/a", i) for i in range(4)] + ([] if videos_list else [("train/b", i) for i in range(4)])
    assert listed == others + [("train/z", i) for i in (0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)]
    assert [d["image_id"] for d in dicts] == list(range(1, len(dicts) + 1))


# ---- lists


def read(tmp_path, lines, folder="none"):
    return image_sets.read_frames("\n".join(lines), tmp_path / "list.txt", tmp_path / folder)


def test_both_validation_lists_give_the_same_frames(tmp_path):
    per_video = read(tmp_path, ["val/a 1 0 2", "val/b 3 0 3"])
    per_frame = read(tmp_path, ["val/a 1 0 2", "val/a 2 1 2", "val/b 3 0 3", "val/b 4 1 3", "val/b 5 2 3"])
    assert per_video == per_frame
    assert [row.image_id for row in per_video] == [1, 2, 3, 4, 5]


def test_two_column_list_takes_the_length_from_the_folder(tiny_root):
    rows = image_sets.read_frames("val/c/000000 1\nval/c/000001 2\n", "list.txt", tiny_root / "Data" / "VID")
    assert rows == [("val/c", 0, 5, 1), ("val/c", 1, 5, 2)]


def test_class_flags_are_not_taken_for_image_ids(tmp_path):
    rows = read(tmp_path, ["train/a 1 3 9", "train/a 1 5 9", "train/b 1 0 2"])
    assert [row.image_id for row in rows] == [1, 2, 3]


@pytest.mark.parametrize("lines, says", [
    (["a 1 0"], "list.txt:1: 3 columns"), (["a 1 0 2", "", "b x 0 2"], "list.txt:3: .*'x'"),
    (["a 1 2 2"], "list.txt:1: frame 2 of a video of 2 frames"), ([""], "is empty"),
    (["a 1 0 2", "b 2 0 2"], "image id 2 stands for 2 frames")])
def test_bad_list_is_an_input_error_naming_the_line(tmp_path, lines, says):
    with pytest.raises(InputError, match=says):
        read(tmp_path, lines)


@pytest.mark.parametrize("folder", ["ImageSets", "Lists", "Lists/VID"])
def test_lists_are_found_in_every_known_folder(tiny_root, folder):
    content = (tiny_root / "ImageSets" / "VID" / "VID_val_videos.txt").read_text()
    shutil.rmtree(tiny_root / "ImageSets")
    (tiny_root / folder).mkdir(parents=True)
    (tiny_root / folder / "VID_val_videos.txt").write_text(content)
    assert len(load(tiny_root, "VID_val_videos")[0]) == 8


# ---- dataset dicts


def test_dict_of_a_frame_says_what_the_files_say(tiny_root, layout):
    dicts, metadata, index = load(tiny_root, "VID_val_videos")
    assert dicts[6] == {
        "file_name": str(tiny_root / "Data/VID/val/d/000001.JPEG"), "image_id": 7, "width": 64, "height": 48,
        "video_id": "val/d", "frame_index": 1, "video_length": 3,
        "annotations": [{"bbox": [6.0, 5.0, 22.0, 30.0], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 6,
                         "track_id": 0, "occluded": 0, "generated": 1, "iscrowd": 0}]}
    assert index.paths("val/d")[1] == dicts[6]["file_name"]
    assert metadata["thing_classes"][6] == "car" and metadata["wnids"][6] == layout.CAR


def test_the_thirty_classes_are_in_alphabetical_order():
    names = list(imagenet_vid.CLASSES.values())
    assert len(names) == 30 and names == sorted(names)
    assert (names[0], names[9], names[29]) == ("airplane", "domestic_cat", "zebra")


def test_frame_without_objects_is_kept(tiny_root):
    dicts, _, _ = load(tiny_root, "VID_train_15frames")
    assert len(dicts) == 8 and dicts[7]["annotations"] == []


def test_boxes_are_clipped_and_degenerate_ones_dropped_and_counted(tiny_root, layout, caplog):
    boxes = [(0, layout.CAR, -5, 2, 80, 47), (1, layout.CAR, 10, 10, 10, 20), (2, layout.CAR, 30, 5, 20, 9),
             (3, layout.CAR, 70, 5, 80, 9), (4, layout.CAR, "nan", 5, 20, 9), (5, layout.CAR, 3, 4, 5, 6)]
    layout.xml(tiny_root / "Annotations/VID/val/d/000000.xml", boxes=boxes)
    with caplog.at_level(logging.WARNING):
        dicts, _, _ = load(tiny_root, "VID_val_videos")
    kept = dicts[5]["annotations"]
    assert [a["bbox"] for a in kept] == [[0, 2, 63, 47], [3, 4, 5, 6]]
    assert [a["track_id"] for a in kept] == [0, 5]
    assert [r.message for r in caplog.records if "dropped 4 boxes" in r.message]


def test_unknown_class_names_the_id_and_the_file(tiny_root, layout):
    path = tiny_root / "Annotations/VID/val/d/000001.xml"
    layout.xml(path, boxes=[(0, "n00000001", 1, 1, 9, 9)])
    with pytest.raises(InputError, match=f"n00000001.*{re.escape(str(path))}"):
        load(tiny_root, "VID_val_videos")


@pytest.mark.parametrize("content", ["", "<annotation>", "<annotation><size/></annotation>", "\x00"])
def test_broken_annotation_file_is_named(tiny_root, content):
    path = tiny_root / "Annotations/VID/val/d/000001.xml"
    path.write_text(content)
    with pytest.raises(InputError, match=re.escape(str(path))):
        load(tiny_root, "VID_val_videos")


@pytest.mark.parametrize("missing", ["Annotations/VID/val/d/000001.xml", "ImageSets"])
def test_missing_part_names_the_path_it_wanted(tiny_root, missing):
    gone = tiny_root / missing
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(str(gone)) + ".*datasets/README.md"):
        load(tiny_root, "VID_val_videos")


def test_pictures_are_left_to_the_loaders_and_their_extension_is_found_in_the_folder(tiny_root):
    """What is missing is for tests/data/test_missing.py."""
    folder = tiny_root / "Data/VID/val/d"
    for path in sorted(folder.iterdir()):
        path.rename(path.with_suffix(".png"))
    (folder / "000000.png").unlink()
    shutil.rmtree(tiny_root / "Data/VID/val/c")
    dicts, _, _ = load(tiny_root, "VID_val_videos")
    assert [d["file_name"] for d in dicts[4:]] == [f"{folder.parent}/{name}" for name in (
        "c/000004.JPEG", "d/000000.png", "d/000001.png", "d/000002.png")]


def test_every_tenth_video_keeps_its_image_ids(tiny_root, layout):
    layout.list(tiny_root, "many", ["val/c 1 0 5", "train/a 6 0 4", "train/b 10 0 4"])
    dicts, _, index = load(tiny_root, "many", every=2)
    assert [d["image_id"] for d in dicts] == [1, 2, 3, 4, 5, 10, 11, 12, 13]
    assert list(index) == ["val/c", "train/b"]


def test_class_table_and_frame_groups_are_read_where_they_exist(tiny_root, layout):
    classes = {layout.DOG: "rings", layout.CAR: "checks"}
    (tiny_root / "ImageSets" / "classes.json").write_text(json.dumps(classes))
    groups = {"clean": [1, 2], "deteriorated": [3]}
    (tiny_root / "ImageSets" / "VID" / "VID_val_videos_groups.json").write_text(json.dumps(groups))
    dicts, metadata, _ = load(tiny_root, "VID_val_videos")
    assert metadata["thing_classes"] == ["rings", "checks"] and metadata["frame_groups"] == groups
    assert dicts[0]["annotations"][0]["category_id"] == 1


# ---- DET


def test_det_pictures_are_videos_of_one_frame_and_other_classes_are_dropped(tmp_path, layout):
    root = tmp_path / "ILSVRC"
    first, second = "train/ILSVRC2014_train_0000/x", "train/ILSVRC2013_train/n1/n1_5"
    for name in (first, second):
        layout.xml(root / "Annotations" / "DET" / f"{name}.xml",
                   boxes=[(0, "n00000001", 1, 1, 9, 9), (0, layout.DOG, 2, 3, 20, 30)])
    layout.list(root, "DET_train_30classes", [f"{first} 1", f"{second} 1", f"{first} 1"])
    index = VideoIndex()
    dicts, _ = load_imagenet_det(root, ("DET_train_30classes",), video_index=index)
    assert [d["image_id"] for d in dicts] == [1, 2, 3]
    assert all(d["frame_index"] == 0 and d["video_length"] == 1 for d in dicts)
    assert all([a["category_id"] for a in d["annotations"]] == [8] for d in dicts)
    assert dicts[1]["file_name"] == str(root / "Data" / "DET" / f"{second}.JPEG")
    assert index.paths(dicts[1]["video_id"]) == [dicts[1]["file_name"]]


# ---- cache


def cache_files(root):
    return sorted((root / annotation_cache.FOLDER).glob("*"))


def test_second_load_reads_the_cache_and_equals_the_first(tiny_root, monkeypatch):
    first, _, _ = load(tiny_root, "VID_train_15frames")
    (path,) = cache_files(tiny_root)
    content = (tiny_root / "ImageSets/VID/VID_train_15frames.txt").read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    assert path.name == f"VID_train_15frames-{digest}-v{annotation_cache.FORMAT}.npz"
    monkeypatch.setattr(imagenet_vid.frame_xml, "parse_files", None)
    assert load(tiny_root, "VID_train_15frames")[0] == first
    with np.load(path, allow_pickle=False) as data:
        assert {data[key].dtype.kind for key in data} <= set("iufU")


def test_changed_list_annotations_or_classes_are_read_again(tiny_root, layout):
    load(tiny_root, "VID_val_videos")
    layout.list(tiny_root, "VID_val_videos", ["val/d 6 0 3"])
    assert len(load(tiny_root, "VID_val_videos")[0]) == 3
    layout.xml(tiny_root / "Annotations/VID/val/d/000002.xml", boxes=[])
    assert [len(d["annotations"]) for d in load(tiny_root, "VID_val_videos")[0]] == [1, 1, 0]
    (tiny_root / "ImageSets/classes.json").write_text(json.dumps({layout.CAR: "a"}))
    assert load(tiny_root, "VID_val_videos")[0][0]["annotations"][0]["category_id"] == 0


def test_damaged_cache_is_made_again(tiny_root):
    first, _, _ = load(tiny_root, "VID_val_videos")
    (path,) = cache_files(tiny_root)
    for content in (b"", b"not a zip", path.read_bytes()[:200]):
        path.write_bytes(content)
        assert load(tiny_root, "VID_val_videos")[0] == first
    assert cache_files(tiny_root) == [path]


def test_cache_of_a_read_only_data_set_goes_to_the_users_folder(tiny_root, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tiny_root.chmod(0o555)
    try:
        load(tiny_root, "VID_val_videos")
    finally:
        tiny_root.chmod(0o755)
    assert not cache_files(tiny_root)
    assert len(list((tmp_path / "cache").rglob("VID_val_videos-*.npz"))) == 1


def test_data_set_loads_when_no_cache_can_be_written(tiny_root, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tiny_root / annotation_cache.FOLDER).write_text("")
    assert len(load(tiny_root, "VID_val_videos")[0]) == 8


# ---- names


def test_registering_twice_is_harmless_and_reads_nothing(monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", "/nowhere")
    builtin.register_all()
    builtin.register_all()
    assert set(builtin.ENTRIES) <= set(DatasetCatalog.list())
    assert MetadataCatalog.get("imagenet_vid_val").evaluator_type == "imagenet_vid"


def test_missing_root_names_the_full_path_when_the_set_is_asked_for(monkeypatch, tmp_path):
    builtin.register_all()
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/ILSVRC2015 or {tmp_path}/ILSVRC;"):
        DatasetCatalog.get("imagenet_vid_val")


def test_root_is_found_when_asked_for_and_may_change(tiny_sets, tiny_root, layout, monkeypatch, tmp_path):
    metadata = MetadataCatalog.get("tiny_test_val")
    assert len(DatasetCatalog.get("tiny_test_val")) == 8
    assert set(metadata.video_index) == {"val/c", "val/d"} and metadata.thing_classes[0] == "airplane"
    other = tmp_path / "other" / "ILSVRC2015"
    layout.video(other, "val/e", length=2)
    layout.list(other, "VID_val_videos", ["val/e 1 0 2"])
    (other / "ImageSets" / "classes.json").write_text(json.dumps({layout.CAR: "thing"}))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(other.parent))
    assert len(DatasetCatalog.get("tiny_test_val")) == 2
    assert set(metadata.video_index) == {"val/e"} and metadata.thing_classes == ["thing"]


def test_vid_mini_has_the_counts_of_its_source_list(sample_data_dir, monkeypatch, tmp_path):
    root = tmp_path / "vid_mini"  # linked, so that no cache is written into the sample data
    root.mkdir()
    for part in ("Data", "Annotations", "ImageSets"):
        os.symlink(sample_data_dir / "vid_mini" / part, root / part)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    builtin.register_all()
    sets = {name: DatasetCatalog.get(name) for name in builtin.ENTRIES if name.startswith("vid_mini")}
    assert {name: len(dicts) for name, dicts in sets.items()} == {
        "vid_mini_train": 105, "vid_mini_train_all": 232, "vid_mini_val": 222, "vid_mini_val_disjoint": 112}
    both = sets["vid_mini_train_all"] + sets["vid_mini_val"]
    assert len(both) == 454 and sum(len(d["annotations"]) for d in both) == 874
    assert len({(d["video_id"], a["track_id"]) for d in both for a in d["annotations"]}) == 26
    every_frame, _, _ = load(root, "VID_val_every_frame")
    assert every_frame == sets["vid_mini_val"] == load(root, "VID_val_frames")[0]


def test_list_that_is_not_text_is_named(tiny_root):
    path = tiny_root / "ImageSets" / "VID" / "VID_val_videos.txt"
    path.write_bytes("val/é 1 0 5\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"VID_val_videos\.txt is not text in UTF-8"):
        load(tiny_root, "VID_val_videos")
