"""YouTube-VIS form: what loads, what is refused and how it is said (rows 41, 45, 46, 47)."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import ytvis_files
from detectron2.structures import BoxMode
from plain_sets import write_json
from pycocotools import mask as coco_mask
from ytvis_files import changed, shape

from stpn.data.datasets.mask_rle import decode
from stpn.data.datasets.ytvis import is_ytvis_json, load_ytvis, picture_folder, read_ytvis_categories
from stpn.data.video import VideoIndex
from stpn.errors import InputError

GOOD = ytvis_files.content()


def load(path, **options):
    index = VideoIndex()
    dicts, metadata = load_ytvis(path, "/pictures", **{"name": "set/train", **options}, video_index=index)
    return dicts, metadata, index


def refusal(path):
    with pytest.raises(InputError) as error:
        load(path)
    assert "\n" not in str(error.value) and str(error.value).startswith((f"{path}: ", f"{path} "))
    return str(error.value).removeprefix(str(path)).removeprefix(":").removeprefix(" ")


def test_dict_of_a_video_says_what_the_json_says(tmp_path):
    dicts, metadata, index = load(write_json(tmp_path / "train.json", GOOD))
    frames = dicts[0].pop("annotations")
    assert dicts[0] == {"video_id": "set/train/5", "json_id": 5, "file_name": "/pictures/clip5/00000.png",
                        "height": 24, "width": 32, "length": 4, "video_length": 4}
    assert index.paths("set/train/5") == [f"/pictures/clip5/{5 * t:05d}.png" for t in range(4)]
    assert metadata == {"thing_classes": ["ball", "cup"], "thing_dataset_id_to_contiguous_id": {3: 0, 7: 1},
                        "json_file": str(tmp_path / "train.json"), "image_root": "/pictures", "has_labels": True}
    assert [[a["id"] for a in frame] for frame in frames] == [[11, 12], [12], [11, 12], [11, 12]]
    assert [[a["id"] for a in frame] for frame in dicts[1]["annotations"]] == [[13], [13], []]
    assert {key: frames[2][1][key] for key in ("category_id", "iscrowd", "bbox", "bbox_mode")} == {
        "category_id": 1, "iscrowd": 0, "bbox": [8, 14, 10, 8], "bbox_mode": BoxMode.XYWH_ABS}


def test_masks_of_every_form_are_those_they_were_written_from(tmp_path):
    dicts, _, _ = load(write_json(tmp_path / "train.json", GOOD))
    for video in dicts:
        for t, frame in enumerate(video["annotations"]):
            for annotation in frame:
                mask = decode(annotation["segmentation"], (video["height"], video["width"]))
                assert np.array_equal(mask, shape(annotation["id"], t))


def test_box_of_the_json_is_taken_where_there_is_one(tmp_path):
    boxes = [[1.5, 2, 3, 4], [0, 0, 1, 1], None, [1, 2, float("nan"), 4]]
    path = write_json(tmp_path / "train.json", changed(annotations__1__bboxes=boxes))
    frames = load(path)[0][0]["annotations"]
    assert [frame[-1]["bbox"] for frame in frames] == [[1.5, 2, 3, 4], [0, 0, 1, 1], [8, 14, 10, 8], [11, 14, 10, 8]]


@pytest.mark.parametrize("labels", [{}, {"annotations": None}])
def test_set_without_labels_loads_as_videos_without_objects(tmp_path, labels):
    path = write_json(tmp_path / "valid.json", {**{k: v for k, v in GOOD.items() if k != "annotations"}, **labels})
    dicts, metadata, index = load(path)
    assert metadata["has_labels"] is False and [video["annotations"] for video in dicts] == [[[]] * 4, [[]] * 3]
    assert len(index) == 2


def test_empty_list_of_annotations_is_a_labelled_set_without_objects(tmp_path):
    assert load(write_json(tmp_path / "x.json", {**GOOD, "annotations": []}))[1]["has_labels"] is True


def test_file_with_a_byte_order_mark_loads(tmp_path):
    path = tmp_path / "train.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert len(load(path)[0]) == 2 and is_ytvis_json(path) and read_ytvis_categories(path) == ["ball", "cup"]


def test_polygons_of_less_than_three_points_are_dropped_and_counted(tmp_path, caplog):
    square = GOOD["annotations"][2]["segmentations"][0]
    masks = [[*square, [1, 1, 5, 5]], [[1, 1, 5, 5]], []]
    with caplog.at_level(logging.WARNING):
        dicts, _, _ = load(write_json(tmp_path / "x.json", changed(annotations__2__segmentations=masks)))
    assert [len(frame) for frame in dicts[1]["annotations"]] == [1, 0, 0]
    assert dicts[1]["annotations"][0][0]["segmentation"] == square
    assert "set/train: dropped polygons of less than 3 points from 2 masks" in caplog.text


RLE = GOOD["annotations"][0]["segmentations"][0]


@pytest.mark.parametrize("change, says", [
    ({"annotations__0__segmentations__2": {**RLE, "size": [32, 24]}},
     "annotations[0].segmentations[2].size is [32, 24], but frame 2 of video 5 (clip5/00010.png) has height 24 and "
     "width 32; "),
    ({"annotations__0__segmentations__3": {**RLE, "counts": [5, 6]}},
     "annotations[0].segmentations[3].counts has runs over 11 pixels; its size has 768: frame 3 of video 5 "),
    ({"annotations__1__segmentations__0": {**RLE, "counts": "no"}}, "annotations[1].segmentations[0].counts is not"),
    ({"annotations__1__segmentations__0": 7}, "annotations[1].segmentations[0] is neither RLE"),
    ({"annotations__2__segmentations__0": [[1, 2, 3, 4, 5, "6"]]}, "annotations[2].segmentations[0][0] is not a"),
    ({"annotations__0__segmentations": [None] * 3}, "annotations[0].segmentations has 3 entries, but video 5 has 4 "),
    ({"annotations__0__bboxes": [None] * 5}, "annotations[0].bboxes has 5 entries, but video 5 has 4 "),
    ({"annotations__0__bboxes": [[1, 2, 3]] * 4}, "annotations[0].bboxes is [[1, 2, 3], "),
    ({"annotations__0__segmentations": None}, "annotations[0].segmentations is null; expected a list with the"),
    ({"annotations__0__iscrowd": 2}, "annotations[0].iscrowd is 2; expected 0 or 1"),
    ({"annotations__2__video_id": 9}, "annotations[2].video_id 9 is not the id of any of the videos (5, 2)"),
    ({"annotations__2__category_id": 4}, "annotations[2].category_id 4 is not the id of any of the categories (7, 3)"),
    ({"annotations__2__id": 11}, "annotations[2].id 11 is that of annotations[0] already"),
    ({"annotations__2__id": "a"}, 'annotations[2].id is "a"; expected a whole number'),
    ({"annotations": {}}, "annotations is {}; expected a list of objects"),
    ({"categories__0__id": 3}, "categories[1].id 3 is that of categories[0] already"),
    ({"categories__0__name": "ball"}, 'categories[1].name "ball" is that of categories[0]'),
    ({"categories": []}, "categories is empty"),
    ({"videos__1__id": 5}, "videos[1].id 5 is that of videos[0] already"),
    ({"videos__1__length": 4}, "videos[1].length is 4, but video 2 has 3 file_names"),
    ({"videos__1__file_names": []}, "videos[1].file_names is []; expected a list of the frames' file names"),
    ({"videos__1__file_names": ["a", "b", 3]}, "videos[1].file_names is "),
    ({"videos__0__width": "32"}, 'videos[0].width is "32"; expected a whole number of pixels'),
    ({"videos": None}, "videos is null")])
def test_fault_is_refused_with_its_place_in_the_json(tmp_path, change, says):
    assert refusal(write_json(tmp_path / "train.json", changed(**change))).startswith(says)


@pytest.mark.parametrize("text, says", [
    ("", "is not JSON"), ("[]", "holds []; expected an object with categories, videos, annotations"),
    ('{"videos": [}', "is not JSON: "), ("{}", "categories is missing")])
def test_file_of_another_kind_is_refused(tmp_path, text, says):
    path = tmp_path / "train.json"
    path.write_text(text)
    assert refusal(path).startswith(says)


@pytest.mark.parametrize("end", [1, 20, 60, 1000, -3, -1])
def test_file_that_breaks_off_is_said_to_be_cut_off(tmp_path, end):
    path = write_json(tmp_path / "train.json", changed())
    whole = path.read_text().strip()
    assert len(whole) > 1100
    path.write_text(whole[:end])
    with pytest.raises(InputError, match=f"^{path} is not JSON: .* in line .*; the file may be cut off: write"):
        load(path)
    path.write_text(f"{whole[:-1]},}}")
    with pytest.raises(InputError, match=f"^{path} is not JSON: ") as error:
        load(path)
    assert "cut off" not in str(error.value)


def test_track_that_is_never_seen_is_dropped_and_counted(tmp_path, caplog):
    path = write_json(tmp_path / "train.json", changed(annotations__1__segmentations=[None, None, [], None]))
    dicts, _, _ = load(path)
    assert {a["id"] for video in dicts for frame in video["annotations"] for a in frame} == {11, 13}
    assert caplog.messages == ["set/train: dropped 1 tracks without a mask in any frame"]


def test_missing_key_is_refused_by_its_name(tmp_path):
    broken = json.loads(json.dumps(GOOD))
    del broken["annotations"][1]["segmentations"], broken["videos"][0]["height"]
    text = refusal(write_json(tmp_path / "train.json", broken))
    assert text.startswith("videos[0].height is missing; expected a whole number of pixels") and "(1 more)" in text
    assert text.endswith("; list all with datasets/check.py set/train")


def test_groups_of_frames_beside_the_file_come_with_it(tmp_path):
    path = write_json(tmp_path / "valid.json", GOOD)
    write_json(tmp_path / "valid_groups.json", {"clean": {"5": [0, 3], "2": []}})
    assert load(path)[1]["frame_groups"] == {"clean": {5: [0, 3], 2: []}}


@pytest.mark.parametrize("groups, says", [
    ([], "is no object"), ({"clean": [1]}, "clean is no object"), ({"clean": {"9": [1]}}, "clean.9 is not the id"),
    ({"clean": {"5": [4]}}, "clean.5 is no list of frames of this video, 0..3")])
def test_groups_of_what_is_not_there_are_refused(tmp_path, groups, says):
    path = write_json(tmp_path / "valid.json", GOOD)
    write_json(tmp_path / "valid_groups.json", groups)
    with pytest.raises(InputError, match=f"valid_groups.json:? {re.escape(says)}"):
        load(path)


def test_classes_are_found_without_reading_the_rest(tmp_path):
    path = tmp_path / "big.json"
    path.write_text('{"info": "a \\"categories\\": [", "categories" : [{"id": 2, "name": "b"}, '
                    '{"id": 1, "name": "\u00e9"}], "videos": [not JSON', encoding="utf-8")
    assert read_ytvis_categories(path) == ["\u00e9", "b"]


@pytest.mark.parametrize("text, says", [
    ('{"videos": []}', "categories is missing"), ("[1]", r"holds \[1\]"), ("{", "is not JSON"),
    ('{"categories": [{"id": 1}]}', r"categories\[0\].name is missing")])
def test_file_without_a_class_table_is_refused(tmp_path, text, says):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=f"x.json:? {says}"):
        read_ytvis_categories(path)


def test_class_table_longer_than_what_is_tried_first_is_read_whole(tmp_path):
    names = [f"class {i} {'x' * 200}" for i in range(6000)]
    rows = [{"id": i, "name": name} for i, name in enumerate(names)]
    assert read_ytvis_categories(write_json(tmp_path / "x.json", {"categories": rows})) == names


@pytest.mark.parametrize("pictures", ["train_sub/JPEGImages", "train/JPEGImages", "JPEGImages", ""])
def test_pictures_are_found_where_the_first_frame_is(tmp_path, pictures):
    for folder in ("train_sub/JPEGImages", "JPEGImages"):
        (tmp_path / folder).mkdir(parents=True)
    ytvis_files.write_pictures(tmp_path / pictures)
    assert picture_folder(tmp_path / "train_sub.json", "clip5/00000.png") == tmp_path / pictures


def test_example_of_the_readme_loads_as_it_says(tmp_path):
    text = (Path(__file__).resolve().parents[2] / "datasets" / "README.md").read_text(encoding="utf-8")
    example = json.loads(next(part for part in re.findall(r"```json\n(.*?)```", text, re.S) if "file_names" in part))
    dicts, metadata, _ = load(write_json(tmp_path / "train.json", example))
    masks = [[decode(a["segmentation"], (4, 6)) for a in frame] for frame in dicts[0]["annotations"]]
    assert metadata["thing_classes"] == ["person", "bicycle"] and [len(frame) for frame in masks] == [1, 0, 1]
    expected = np.zeros((4, 6), bool)
    expected[1:3, 1] = expected[1:3, 2] = True  # runs 5, 2, 2, 2, 13 down the columns of four
    assert np.array_equal(masks[0][0], expected) and 0 < masks[2][0].sum() < 6


def test_masks_of_ytvis_mini_equal_a_plain_decode(sample_data_dir):
    root, masks = sample_data_dir / "ytvis_mini", 0
    found = {part: load(root / f"{part}.json") for part in ("train", "valid")}
    assert [len(dicts) for dicts, _, _ in found.values()] == [8, 7]
    assert sum(video["length"] for dicts, _, _ in found.values() for video in dicts) == 189
    for part, (dicts, metadata, _) in found.items():
        content = json.loads((root / f"{part}.json").read_text())
        assert len(content["annotations"]) == {"train": 16, "valid": 14}[part]
        assert metadata["thing_classes"] == [row["name"] for row in content["categories"]]
        rows = {row["id"]: row for row in content["annotations"]}
        for video in dicts:
            for t, frame in enumerate(video["annotations"]):
                for annotation in frame:
                    rle = rows[annotation["id"]]["segmentations"][t]
                    plain = coco_mask.decode(coco_mask.frPyObjects(rle, *rle["size"]))
                    assert np.array_equal(decode(annotation["segmentation"], (video["height"], video["width"])), plain)
                    assert annotation["category_id"] == rows[annotation["id"]]["category_id"] - 1
                    masks += 1
    assert masks == 363
