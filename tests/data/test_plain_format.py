"""The plain format of a user's own videos: what loads, what is refused and how it is said (rows 41, 42, 44, 45)."""

import itertools
import json
import logging
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from plain_sets import changed, content, pictures, write_file, write_folder, write_json

from stpn.data import builtin
from stpn.data.build import build_video_test_loader, build_video_train_loader, without_empty
from stpn.data.datasets.video_json import inspect_video_json, load_video_json, read_categories, write_video_json
from stpn.data.source import open_source
from stpn.data.video import VideoIndex
from stpn.errors import InputError

README = Path(__file__).resolve().parents[2] / "datasets" / "README.md"


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """my_set/videos: park (a folder of 4 pictures of 48 x 64 pixels) and street.mp4 (6 frames)."""
    root = tmp_path_factory.mktemp("media") / "my_set"
    write_folder(root / "videos" / "park", pictures(4))
    write_file(root / "videos" / "street.mp4", pictures(6, seed=1))
    return root


@pytest.fixture
def my_set(media, tmp_path, monkeypatch):
    """write(content, name="train") -> path of my_set/<name>.json, beside the videos, below DETECTRON2_DATASETS."""
    root = tmp_path / "my_set"
    root.mkdir()
    (root / "videos").symlink_to(media / "videos")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    yield lambda what, name="train": write_json(root / f"{name}.json", what)
    for name in [name for name in DatasetCatalog.list() if name.startswith("my_set/")]:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


GOOD = content("videos/park", "videos/street.mp4")


def load(path, **options):
    index = VideoIndex()
    dicts, metadata = load_video_json(path, video_index=index, **options)
    return dicts, metadata, index


def refusal(path):
    with pytest.raises(InputError) as error:
        load(path)
    assert "\n" not in str(error.value) and str(error.value).startswith((f"{path}: ", f"{path} "))
    return str(error.value).removeprefix(str(path)).removeprefix(":").removeprefix(" ")


# ---- what a good file says


def test_dict_of_a_frame_says_what_the_json_says(my_set, tmp_path):
    dicts, metadata, index = load(my_set(changed(GOOD, annotations__1__occluded=1)), name="my_set/train")
    assert dicts[1] == {
        "file_name": f"{tmp_path}/my_set/videos/park/000002.png", "image_id": 11, "width": 64, "height": 48,
        "video_id": "my_set/videos/park", "frame_index": 1, "video_length": 4,
        "annotations": [{"bbox": [6.0, 10.0, 26.0, 30.0], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0,
                         "track_id": 1, "occluded": 1, "generated": 0, "iscrowd": 0}]}  # fmt: skip
    assert dicts[4]["file_name"] == f"{tmp_path}/my_set/videos/street.mp4#1" and dicts[4]["video_length"] == 6
    assert dicts[4]["annotations"][0]["category_id"] == 1
    assert metadata == {"thing_classes": ["ball", "cup"], "thing_dataset_id_to_contiguous_id": {2: 0, 4: 1}}
    assert index.length("my_set/videos/street.mp4") == 6 and len(index.paths("my_set/videos/park")) == 4


def test_example_of_the_readme_loads_as_it_says(tmp_path):
    section = README.read_text(encoding="utf-8").split("## Your own videos")[1]
    path = tmp_path / "my_set" / "train.json"
    path.parent.mkdir()
    path.write_text(re.search(r"```json\n(.*?)```", section, re.S).group(1), encoding="utf-8")
    write_file(path.parent / "videos" / "street.mp4", pictures(12))
    write_folder(path.parent / "videos" / "park", pictures(3))
    for picture in (path.parent / "videos" / "park").iterdir():
        picture.rename(picture.with_suffix(".jpg"))
    assert inspect_video_json(path)[1] == []
    dicts, metadata, index = load(path)
    assert metadata["thing_classes"] == ["person", "bicycle"] and len(index) == 2
    assert [[(a["category_id"], a["bbox"]) for a in d["annotations"]] for d in dicts] == [
        [(0, [10, 8, 30, 38.5])], [(0, [12, 8, 32, 38.5]), (1, [40, 20, 55, 45])], []]


def test_byte_order_mark_is_accepted(my_set):
    path = my_set(GOOD)
    expected = load(path)[0]
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(path)[0] == expected


def test_folder_has_the_frames_and_the_order_of_the_demo(tmp_path):
    folder = tmp_path / "v"
    write_folder(folder, pictures(3))
    for old, new in (("000001", "10"), ("000002", "9"), ("000003", "B1")):
        (folder / f"{old}.png").rename(folder / f"{new}.png")
    (folder / "notes.txt").write_text("")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "sub.png").mkdir()
    _, _, index = load(write_json(tmp_path / "s.json", content("v")), name="s")
    frames = [Path(path).name for path in index.paths("v")]
    assert frames == ["9.png", "10.png", "B1.png"] == [frame.name for frame in open_source(str(folder))]


def test_a_single_picture_is_a_video_of_one_frame(my_set, tmp_path):
    dicts, _, index = load(my_set(content("videos/park/000002.png", labelled=1)), name="my_set/train")
    assert dicts[0]["video_length"] == 1
    assert index.paths(dicts[0]["video_id"]) == [f"{tmp_path}/my_set/videos/park/000002.png"]


def test_sizes_are_read_from_each_labelled_picture_where_the_json_has_none(tmp_path):
    images = pictures(3)
    images[1] = cv2.resize(images[1], (30, 90))
    write_folder(tmp_path / "v", images)
    dicts, _, _ = load(write_json(tmp_path / "s.json", content("v")))
    assert [(d["width"], d["height"]) for d in dicts] == [(64, 48), (30, 90), (64, 48)]


def test_size_of_a_turned_video_is_the_upright_one(tmp_path):
    write_file(tmp_path / "v.mp4", pictures(3), rotation=90)
    dicts, _, index = load(write_json(tmp_path / "s.json", content("v.mp4")), name="s")
    assert (dicts[0]["width"], dicts[0]["height"]) == (48, 64) == index.read("v.mp4", 0).shape[1::-1]


def test_other_keys_are_left_alone_and_tracks_are_optional(my_set):
    what = changed(GOOD, annotations__0__track_id=..., annotations__0__area=3, images__0__license="x")
    dicts, _, _ = load(my_set({**what, "info": {"by": "me"}, "licenses": None}))
    assert dicts[0]["annotations"][0]["track_id"] == -1


# ---- row 41: not the format


@pytest.mark.parametrize("table, key, expected", [
    ("categories", "name", "a text that is not empty"), ("videos", "file_name", "a text that is not empty"),
    ("images", "video_id", "a whole number"), ("images", "frame_index", "a whole number, 0 for the video's first"),
    ("annotations", "id", "a whole number"), ("annotations", "category_id", "a whole number"),
    ("annotations", "bbox", r"[x, y, width, height], four numbers in pixels")])  # fmt: skip
def test_missing_key_is_named_with_its_place_and_what_was_expected(my_set, table, key, expected):
    path = my_set(changed(GOOD, **{f"{table}__1__{key}": ...}))
    assert refusal(path).startswith(f"{table}[1].{key} is missing; expected {expected}")


@pytest.mark.parametrize("place, value, says", [
    ("categories__0__id", "4", 'categories[0].id is "4"; expected a whole number'),
    ("categories__0__id", True, "categories[0].id is true; expected a whole number"),
    ("categories__0__name", 3, "categories[0].name is 3; expected a text"),
    ("videos__1__file_name", "", 'videos[1].file_name is ""; expected a text that is not empty'),
    ("videos__1__width", 0, "videos[1].width is 0; expected a whole number of pixels"),
    ("videos__1__length", 2.0, "videos[1].length is 2.0; expected a whole number of frames"),
    ("images__2__id", 10**30, "images[2].id is 1000000000000000000000000000000; expected a whole number"),
    ("images__2__frame_index", -1, "images[2].frame_index is -1; expected a whole number, 0 for"),
    ("images__2__frame_index", None, "images[2].frame_index is null; expected a whole number, 0 for"),
    ("annotations__2__bbox", [1, 2, 3], "annotations[2].bbox is [1, 2, 3]; expected [x, y, width, height]"),
    ("annotations__2__bbox", [1, 2, None, 4], "annotations[2].bbox is [1, 2, null, 4]; expected [x, y,"),
    ("annotations__2__bbox", {"x": 1}, 'annotations[2].bbox is {"x": 1}; expected [x, y, width, height]'),
    ("annotations__2__iscrowd", 2, "annotations[2].iscrowd is 2; expected 0 or 1"),
    ("annotations__2__track_id", "a" * 99, f'annotations[2].track_id is "{"a" * 59}...; expected a whole number'),
])  # fmt: skip
def test_wrong_type_is_named_with_its_place_and_what_was_expected(my_set, place, value, says):
    assert refusal(my_set(changed(GOOD, **{place: value}))).startswith(says)


@pytest.mark.parametrize("what, says", [
    ([], "holds []; expected an object with categories, videos, images, annotations"),
    ({**GOOD, "images": None}, "images is null; expected a list of objects"),
    ({**GOOD, "images": []}, "images is empty; expected at least one"),
    ({key: GOOD[key] for key in ("categories", "images", "annotations")}, "videos is missing; expected a list"),
    ({**GOOD, "annotations": [3]}, "annotations[0] is 3; expected an object with id, image_id, category_id, bbox"),
])  # fmt: skip
def test_wrong_tables_are_named(my_set, what, says):
    assert refusal(my_set(what)).startswith(says)


@pytest.mark.parametrize("data, says", [
    (b"", "is not JSON: Expecting value in line 1, column 1"), (b"\x00\x01", "is not JSON"),
    (b'{"videos": [\n{"id": 1,}]}', "is not JSON: .* in line 2"),
    (b'{"videos": [' + b"[" * 100_000, "is not JSON that can be read"),
    (b'{"id": ' + b"9" * 5000 + b"}", "is not JSON that can be read"),
    ("{}".encode("utf-16"), "is not text in UTF-8 .byte 0.; expected JSON"), (b'{"a": "\xff"}', "byte 7")])  # fmt: skip
def test_text_that_is_not_json_is_an_input_error(my_set, data, says):
    path = my_set(GOOD)
    path.write_bytes(data)
    assert re.search(says, refusal(path))
    assert inspect_video_json(path)[0] is None


def test_missing_file_and_folder_are_named(tmp_path):
    assert refusal(tmp_path / "absent.json").startswith("does not exist")
    assert refusal(tmp_path).startswith("is a folder; expected a JSON file")


def test_all_problems_are_listed_and_the_first_says_how_many_more(my_set):
    path = my_set(changed(GOOD, annotations__0__bbox=[], annotations__1__id="x", images__0__id=...))
    content_read, problems = inspect_video_json(path)
    assert content_read is None
    assert [(p.where, p.kind) for p in problems] == [
        ("images[0].id", "structure"), ("annotations[0].bbox", "structure"), ("annotations[1].id", "structure")]
    assert "images[0].id is missing" in refusal(path) and "(2 more); list all with datasets/check.py" in refusal(path)


# ---- row 45: ids


@pytest.mark.parametrize("place, value, says", [
    ("categories__1__id", 4, "categories[1].id 4 is that of categories[0] already"),
    ("categories__1__name", "cup", 'categories[1].name "cup" is that of categories[0] already'),
    ("videos__1__id", 1, "videos[1].id 1 is that of videos[0] already"),
    ("videos__1__file_name", "videos/park", 'videos[1].file_name "videos/park" is that of videos[0] already'),
    ("images__4__id", 10, "images[4].id 10 is that of images[0] already"),
    ("images__1__frame_index", 0, "images[1].frame_index 0 of video 1 is that of images[0] already"),
    ("annotations__5__id", 3, "annotations[5].id 3 is that of annotations[2] already"),
    ("annotations__5__category_id", 3, "annotations[5].category_id 3 is not the id of any of the categories (4, 2)"),
    ("annotations__5__image_id", 1, "annotations[5].image_id 1 is not the id of any of the images (10, 11, "),
    ("images__5__video_id", 0, "images[5].video_id 0 is not the id of any of the videos (1, 2)"),
    ("images__2__frame_index", 4, "images[2].frame_index is 4, but "),
    ("images__5__frame_index", 6, "images[5].frame_index is 6, but "),
    ("videos__1__length", 5, "videos[1].length is 5, but "), ("videos__0__length", 9, "videos[0].length is 9, but "),
    ("images__2__width", 63, "images[2].width is 63, but "),
])  # fmt: skip
def test_wrong_id_or_number_is_refused_with_it(my_set, place, value, says):
    what = changed(GOOD, videos__0__width=64) if "images__2__width" in place else GOOD
    assert refusal(my_set(changed(what, **{place: value}))).startswith(says)


def test_gaps_in_ids_are_no_error_and_classes_follow_ascending_ids(my_set):
    moved = {"categories": {4: 2**40, 2: 5}, "videos": {1: 0, 2: 99}, "images": {10: -7}}
    what = json.loads(json.dumps(GOOD))
    for table, ids in moved.items():
        for row in what[table]:
            row["id"] = ids.get(row["id"], row["id"])
    for table, key, target in (("images", "video_id", "videos"), ("annotations", "image_id", "images"),
                               ("annotations", "category_id", "categories")):  # fmt: skip
        for row in what[table]:
            row[key] = moved[target].get(row[key], row[key])
    dicts, metadata, _ = load(my_set(what))
    assert metadata["thing_dataset_id_to_contiguous_id"] == {5: 0, 2**40: 1}
    plain, _, _ = load(my_set(GOOD))
    assert dicts[0]["image_id"] == -7 and [d["annotations"] for d in dicts] == [d["annotations"] for d in plain]


@pytest.mark.parametrize("size, place, says", [
    ((480, 360), "videos__0", "videos[0].width and height are 480x360, but frame 0 of {park} has 64x48 pixels"),
    ((48, 64), "videos__1", "videos[1].width and height are 48x64, but frame 0 of {street} has 64x48 pixels"),
    ((480, 360), "images__0", "images[0].width and height are 480x360, but frame 0 of {park} has 64x48 pixels")],
)  # fmt: skip
def test_size_that_the_video_contradicts_is_refused(my_set, tmp_path, size, place, says):
    what = changed(GOOD, **{f"{place}__width": size[0], f"{place}__height": size[1]})
    folder = tmp_path / "my_set" / "videos"
    assert refusal(my_set(what)).startswith(says.format(park=folder / "park", street=folder / "street.mp4"))


def test_picture_under_another_frame_number_or_in_another_folder_is_refused(my_set):
    what = changed(GOOD, images__1__file_name="videos/park/000003.png")
    assert re.match(r"images\[1\].frame_index is 1, but .*000003.png is frame 2 of its folder", refusal(my_set(what)))
    what = changed(GOOD, images__1__file_name="videos/000002.png")
    assert re.match(r"images\[1\].file_name .*does not lie in its video's folder", refusal(my_set(what)))


def test_video_that_is_none_is_refused_with_its_place(my_set, tmp_path):
    (tmp_path / "my_set" / "x.mp4").write_text("text")
    (tmp_path / "my_set" / "empty").mkdir()
    assert re.match(r"videos\[0\].file_name .*not a video", refusal(my_set(content("x.mp4"))))
    assert "has no pictures" in refusal(my_set(content("empty")))
    assert re.search("video not found: .*/gone; expected a video file or a folder", refusal(my_set(content("gone"))))


# ---- row 44: boxes


NAN, INF = float("nan"), float("inf")
BOXES = [([-5, 2, 85, 46], [0, 2, 64, 48]), ([10, 10, 0, 10], None), ([30, 5, -10, 4], None), ([70, 5, 10, 4], None),
         ([NAN, 5, 20, 9], None), ([3, 4, 1, 1], [3, 4, 4, 5]), ([63.5, 4, 9, 9], None), ([3, 4, INF, 1], None),
         ([3, 4, 10**400, 1], None), ([0, 0, 64, 48], [0, 0, 64, 48])]  # fmt: skip


def test_boxes_are_clipped_and_degenerate_ones_dropped_and_counted(my_set, caplog):
    what = {**GOOD, "annotations": [{**GOOD["annotations"][0], "id": i, "track_id": i, "bbox": box}
                                    for i, (box, _) in enumerate(BOXES)]}  # fmt: skip
    path = my_set(what)
    with caplog.at_level(logging.WARNING):
        kept = load(path, name="my_set/train")[0][0]["annotations"]
    assert {a["track_id"]: a["bbox"] for a in kept} == {i: box for i, (_, box) in enumerate(BOXES) if box is not None}
    assert "my_set/train: dropped 7 of 10 boxes" in caplog.text and "clipped 1" in caplog.text
    problems = inspect_video_json(path)[1]
    assert [p.where for p in problems] == [f"annotations[{i}].bbox" for i in (0, 1, 2, 3, 4, 6, 7, 8)]
    assert not any(p.fatal for p in problems) and {p.kind for p in problems} == {"box"}


def test_rounding_of_a_box_at_the_border_is_no_problem(my_set):
    path = my_set(changed(GOOD, annotations__0__bbox=[0.1, 0, 63.900000000000006, 48]))
    assert inspect_video_json(path)[1] == []
    assert load(path)[0][0]["annotations"][0]["bbox"] == [0.1, 0, 64.0, 48]


# ---- row 42: nothing annotated


def test_videos_without_objects_are_evaluated_and_left_out_of_training_and_counted(tiny_cfg, my_set, caplog):
    what = content("videos/park", "videos/street.mp4", "videos/park/000001.png", labelled=1)
    what["images"] = what["images"][:2]  # the third video has no labelled frame
    what["annotations"] = what["annotations"][:1]  # the second has one without objects
    my_set(what)
    tiny_cfg.DATASETS.TRAIN = tiny_cfg.DATASETS.TEST = ("my_set/train",)
    with caplog.at_level(logging.INFO):
        build_video_train_loader(tiny_cfg)
    assert "left out 1 of 2 training frames without objects; left out 1 of 2 videos without any object" in caplog.text
    assert "my_set/train: 1 of 3 videos have no labelled frame" in caplog.text
    tiny_cfg.DATALOADER.KEEP_UNLABELLED_VIDEOS = True
    batches = itertools.islice(build_video_train_loader(tiny_cfg), 4)
    assert {s["video_id"] for batch in batches for s in batch} == {"my_set/videos/park", "my_set/videos/street.mp4"}
    videos = [video for (video,) in build_video_test_loader(tiny_cfg, "my_set/train")]
    assert [(v["video_id"].split("/", 2)[2], v["image_ids"]) for v in videos] == [
        ("park", [10, None, None, None]), ("street.mp4", [11, *[None] * 5]), ("park/000001.png", [None])]
    assert [(v["height"], v["width"]) for v in videos] == [(48, 64)] * 3


def test_option_keeps_empty_videos_but_not_other_empty_frames(caplog):
    box = [{"bbox": [0, 0, 9, 9]}]
    dicts = [{"video_id": v, "frame_index": i, "annotations": a} for v, i, a in
             (("full", 0, box), ("full", 1, []), ("empty", 0, []), ("empty", 1, []),
              ("crowd", 0, [{**box[0], "iscrowd": 1}]))]  # fmt: skip
    stills = [{"file_name": "a.jpg", "annotations": []}, {"file_name": "b.jpg", "annotations": box}]
    dicts = [{"file_name": "", **d} for d in dicts] + stills
    with caplog.at_level(logging.INFO):
        assert without_empty(dicts) == [dicts[0], dicts[6]]
        assert without_empty(dicts, keep_unlabelled=True) == [d for i, d in enumerate(dicts) if i != 1]
    assert "left out 1 of 7 training frames without objects; kept 3 of 5 videos without any object" in caplog.text


# ---- names


def test_a_name_is_found_below_the_folder_of_data_sets_and_found_again_when_that_changes(my_set, tmp_path, monkeypatch):
    my_set(GOOD)
    builtin.ensure_registered(["my_set/train", "vid_mini_val"])
    metadata = MetadataCatalog.get("my_set/train")
    assert len(DatasetCatalog.get("my_set/train")) == 6 and metadata.evaluator_type == "imagenet_vid"
    other = tmp_path / "elsewhere"
    write_folder(other / "my_set" / "a", pictures(3))
    write_json(other / "my_set" / "train.json", content("a"))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(other))
    builtin.ensure_registered(["my_set/train"])
    assert len(DatasetCatalog.get("my_set/train")) == 3 and list(metadata.video_index) == ["my_set/a"]
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=f"no file {tmp_path}/nowhere/my_set/train.json"):
        DatasetCatalog.get("my_set/train")


@pytest.mark.parametrize("name, says", [
    ("my_set/trian", "did you mean my_set/train"), ("my_set/train.json", "did you mean my_set/train"),
    ("toy_vid_trian", "did you mean toy_vid_train"), ("../my_set/train", "did you mean "),
    ("absolute", "did you mean ")])  # fmt: skip
def test_unknown_name_says_what_was_looked_for_and_what_is_near(my_set, tmp_path, name, says):
    path = my_set(GOOD)
    name = str(path.with_suffix("")) if name == "absolute" else name
    with pytest.raises(InputError, match=re.escape(says)) as error:
        builtin.ensure_registered([name])
    assert f"there is no file {Path(tmp_path) / name}.json" in str(error.value) or name.startswith("/")


# ---- writing


def test_writer_refuses_what_would_not_load_and_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "s.json"
    write_video_json(path, **GOOD)
    before = path.read_bytes()
    for what in (changed(GOOD, annotations__0__image_id=1), changed(GOOD, images__0__id=...),
                 changed(GOOD, annotations__0__bbox=[0, 0, NAN, 1])):
        with pytest.raises(InputError, match=r"not written: .*(annotations|images)\[0\]"):
            write_video_json(path, **what)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_categories_are_read_without_the_videos(tmp_path):
    path = write_json(tmp_path / "s.json", content("nowhere"))
    assert read_categories(path) == ["ball", "cup"]
    with pytest.raises(InputError, match=r"categories\[0\].id"):
        read_categories(write_json(path, changed(GOOD, categories__0__id="x")))


def test_pixels_of_both_kinds_are_those_of_the_demo(my_set, media):
    _, _, index = load(my_set(GOOD), name="my_set/train")
    for video, source in (("park", media / "videos" / "park"), ("street.mp4", media / "videos" / "street.mp4")):
        name = f"my_set/videos/{video}"
        expected = [frame.image for frame in open_source(str(source))]
        assert len(expected) == index.length(name)
        for i in (2, 0, index.length(name) - 1):
            assert np.array_equal(index.read(name, i), expected[i])
        assert all(np.array_equal(a.image, b) for a, b in zip(index.reader(name), expected, strict=True))
