"""datasets/check.py and what it stands on: a planted problem is found once, with its place; counts are right."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from load_script import load_script
from PIL import Image

from stpn.data.check import contact_sheet, sheet_font
from stpn.data.check import report as check_report
from stpn.data.check.boxes import box_fault, usable_boxes
from stpn.data.check.checked_set import CheckedBox, CheckedFrame
from stpn.data.check.checking import check, spread
from stpn.data.check.layout import LayoutSet, StillSet
from stpn.data.check.plain import PlainSet
from stpn.data.check.problems import GOES_ON, KINDS
from stpn.data.check.sets import open_set
from stpn.data.datasets import frame_xml, inspect_video_json, load_imagenet_vid, load_video_json, write_video_json
from stpn.data.image import read_image
from stpn.data.video import VideoIndex
from stpn.errors import InputError, run_script

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "datasets" / "check.py"


def by_kind(result):
    return {kind: [where for where, _ in found] for kind, found in result.findings.by_kind.items()}


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run(data folder, *arguments) -> exit code; the results go to tmp_path/out."""
    script = load_script(SCRIPT)

    def call(folder, *arguments):
        monkeypatch.setenv("DETECTRON2_DATASETS", str(folder))
        with pytest.raises(SystemExit) as ended:
            run_script(lambda: script.main(["--output", str(tmp_path / "out"), *arguments]))
        return ended.value.code

    return call


# ---- ImageNet's layout


def layout_set(root, stem="VID_val_videos"):
    return LayoutSet(root, (stem,), name="val")


def test_clean_set_has_no_problem_and_the_counts_of_a_plain_recount(tiny_root):
    checked = layout_set(tiny_root, "VID_train_15frames")
    result = check(checked, sample=3)
    assert by_kind(result) == {} and result.decoded == 3
    dicts, _ = load_imagenet_vid(tiny_root, ("VID_train_15frames",), video_index=VideoIndex())
    boxes = [(d["video_id"], a) for d in dicts for a in d["annotations"]]
    counts = result.counts
    assert counts.boxes == Counter(checked.classes[a["category_id"]] for _, a in boxes)
    assert counts.tracks == len({(video, a["track_id"]) for video, a in boxes})
    assert counts.labelled == Counter(d["video_id"] for d in dicts)
    assert counts.empty == sum(not d["annotations"] for d in dicts) == 1
    assert counts.pictures == Counter((d["width"], d["height"]) for d in dicts)
    assert counts.lengths == {"train/a": 4, "train/b": 4}
    assert {v: [dicts[i]["video_id"] for i in found] for v, found in counts.shown.items()} == {
        "train/a": ["train/a"] * 4, "train/b": ["train/b"] * 3}
    text = check_report.text(checked, result)
    assert "frames   8; labelled 8, of these without an object 1" in text and "no problems" in text
    assert "decoded  3 of the 8 pictures" in text
    assert "  width  min 16, 5% 16, median 16, 95% 28, max 28" in text  # 4 boxes of 16, 3 of 28


def plant(found_kind, found_where):
    """Mark a function of SimpleNamespace(root, layout, xml(i), picture(i)) as one that plants this problem, once."""
    def mark(function):
        return pytest.param(function, found_kind, found_where, id=f"{found_kind}: {function.__name__}")
    return mark


PICTURE, XML = "Data/VID/val/d/000001.JPEG", "Annotations/VID/val/d/000001.xml"


@plant("missing picture", PICTURE)
def picture_removed(s):
    s.path(PICTURE).unlink()


@plant("unreadable picture", PICTURE)
def picture_cut(s):
    s.path(PICTURE).write_bytes(s.path(PICTURE).read_bytes()[:300])


@plant("unreadable picture", PICTURE)
def picture_empty(s):
    s.path(PICTURE).write_bytes(b"")


@plant("missing annotation", XML)
def annotation_removed(s):
    s.path(XML).unlink()


@plant("unreadable annotation", XML)
def annotation_cut(s):
    s.path(XML).write_text("<annotation><size>")


@plant("unreadable annotation", XML)
def annotation_without_a_box(s):
    s.path(XML).write_text(s.path(XML).read_text().replace("bndbox", "box"))


@plant("size", PICTURE)
def annotation_of_another_size(s):
    s.boxes([(0, s.layout.CAR, 2, 3, 30, 20)], size=(96, 64))


@plant("unknown class", f"{XML} object 1")
def class_unknown(s):
    s.boxes([(1, s.layout.CAR, 2, 3, 30, 20), (0, "n00000001", 30, 3, 2, 20)])


@plant("box not finite", f"{XML} object 0")
def box_nan(s):
    s.boxes([(0, s.layout.CAR, "nan", 3, 30, 20)])


@plant("box swapped", f"{XML} object 0")
def box_swapped(s):
    s.boxes([(0, s.layout.CAR, 30, 3, 2, 20)])


@plant("box degenerate", f"{XML} object 0")
def box_of_no_height(s):
    s.boxes([(0, s.layout.CAR, 3, 20, 30, 20)])


@plant("box outside", f"{XML} object 0")
def box_beside_the_picture(s):
    s.boxes([(0, s.layout.CAR, 63, 3, 90, 20)])  # the last pixel column is 63


@plant("box clipped", f"{XML} object 0")
def box_over_the_border(s):
    s.boxes([(0, s.layout.CAR, 50, 3, 64, 20)])


@plant("track class", f"{XML} object 0")
def track_becomes_a_dog(s):
    s.boxes([(0, s.layout.DOG, 2, 3, 30, 20)])
    s.boxes([(0, s.layout.DOG, 2, 3, 30, 20)], frame=2)


@plant("track twice", f"{XML} object 1")
def track_with_two_boxes(s):
    s.boxes([(0, s.layout.CAR, 2, 3, 30, 20), (0, s.layout.CAR, 3, 3, 30, 20)])


@plant("frame twice", "VID_val_videos.txt")
def frame_listed_twice(s):
    s.list(["val/c 1 0 5", "val/d 2 1 3", "val/d 3 1 3"])


@plant("list line", "VID_val_videos.txt:2")
def line_with_a_word(s):
    s.list(["val/c 1 0 5", "val/d 6 zero 3", "val/d 6 0 3"])


@plant("list line", "VID_val_videos.txt:3")
def line_behind_the_end(s):
    s.list(["val/c 1 0 5", "val/d 6 2 3", "val/d 7 3 3"])


@plant("duplicate id", "VID_val_videos.txt:2")
def ids_repeated(s):
    s.list(["val/c 7 1 5", "val/c 7 2 5", "val/d 8 0 3"])


@plant("duplicate id", "VID_val_videos.txt")
def ids_of_whole_videos_overlap(s):
    s.list(["val/c 1 0 5", "val/d 5 0 3"])


@plant("missing picture", "Data/VID/val/gone")
def folder_removed_whose_length_only_it_knows(s):
    s.list(["val/c/000000 1", "val/gone/000000 2", "val/gone/000001 3"])


@plant("missing support", "Data/VID/val/d")
def unlabelled_frame_removed(s):
    s.list(["val/c 1 0 5", "val/d 6 2 3"])
    s.path(PICTURE).unlink()


@plant("length", "Data/VID/val/d")
def one_picture_more(s):
    shutil.copy(s.path(PICTURE), s.path(PICTURE).with_name("000003.JPEG"))


@pytest.mark.parametrize("planted, kind, where", [
    picture_removed, picture_cut, picture_empty, annotation_removed, annotation_cut, annotation_without_a_box,
    annotation_of_another_size, class_unknown, box_nan, box_swapped, box_of_no_height, box_beside_the_picture,
    box_over_the_border, track_becomes_a_dog, track_with_two_boxes, frame_listed_twice, line_with_a_word,
    line_behind_the_end, ids_repeated, ids_of_whole_videos_overlap, folder_removed_whose_length_only_it_knows,
    unlabelled_frame_removed, one_picture_more])
def test_planted_problem_is_found_exactly_once_with_its_place(tiny_root, layout, planted, kind, where):
    planted(SimpleNamespace(
        root=tiny_root, layout=layout, path=lambda name: tiny_root / name,
        boxes=lambda boxes, frame=1, **options: layout.xml(
            tiny_root / f"Annotations/VID/val/d/{frame:06d}.xml", boxes=boxes, **options),
        list=lambda lines: layout.list(tiny_root, "VID_val_videos", lines)))
    result = check(layout_set(tiny_root), sample=None)
    assert {kind: len(found) for kind, found in by_kind(result).items()} == {kind: 1}
    assert by_kind(result)[kind][0].endswith(where)
    (found,) = result.findings.by_kind[kind]
    assert f"    {found.where}: {found.message}\n" in check_report.text(layout_set(tiny_root), result)


def test_all_problems_are_found_not_the_first(tiny_root, layout):
    for i in range(3):
        layout.xml(tiny_root / f"Annotations/VID/val/d/{i:06d}.xml",
                   boxes=[(0, layout.CAR, 9, 9, 9, 9), (1, "n00000001", 2, 3, 30, 20)])
    shutil.rmtree(tiny_root / "Data/VID/val/c")
    found = by_kind(check(layout_set(tiny_root)))
    assert {kind: len(places) for kind, places in found.items()} == {
        "box degenerate": 3, "unknown class": 3, "missing picture": 5}


def test_annotation_may_state_the_size_as_stored_under_an_exif_turn(tiny_root, layout):
    path = tiny_root / PICTURE
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(path, exif=exif)
    assert read_image(path).shape == (64, 48, 3)
    assert by_kind(check(layout_set(tiny_root))) == {}  # 64x48 as stored
    layout.xml(tiny_root / XML, boxes=[], size=(48, 64))
    assert by_kind(check(layout_set(tiny_root))) == {}  # upright
    layout.xml(tiny_root / XML, boxes=[], size=(48, 65))
    assert list(by_kind(check(layout_set(tiny_root)))) == ["size"]


def test_list_without_one_good_line_cannot_be_checked(tiny_root, layout):
    layout.list(tiny_root, "VID_val_videos", ["a b c", "d e"])
    with pytest.raises(InputError, match="no line of .*VID_val_videos.txt"):
        layout_set(tiny_root)


def test_det_objects_of_other_classes_and_repeated_pictures_are_no_problem(tmp_path, layout):
    root = tmp_path / "ILSVRC"
    for name in "xyz":
        layout.xml(root / f"Annotations/DET/train/f/{name}.xml",
                   boxes=[(0, "n00000001", 9, 1, 9, 9), (0, layout.DOG, 2, 3, 20, 30)])
    (root / "Data/DET/train/f").mkdir(parents=True)
    for name in "xy":
        Image.new("RGB", (64, 48)).save(root / f"Data/DET/train/f/{name}.JPEG")
    layout.list(root, "DET_train_30classes", ["train/f/x 1", "train/f/y 1", "train/f/x 1", "train/f/z 1", "a b c"])
    checked = StillSet(root, ("DET_train_30classes",), name="det")
    result = check(checked)
    assert by_kind(result) == {"list line": [f"{checked.place}:5"],
                               "missing picture": [f"{root}/Data/DET/train/f/z.JPEG"]}
    assert result.counts.boxes == {"dog": 4} and len(result.counts.lengths) == 3 and result.decoded == 3
    assert checked.notes() == ["others   4 objects of other classes: background in training"]


def test_list_that_is_no_utf8_is_an_input_error_naming_it(tmp_path, layout):
    layout.list(tmp_path, "DET_train_30classes", ["train/f/x 1"])
    (path,) = tmp_path.rglob("DET_train_30classes.txt")
    path.write_bytes(b"train/f/caf\xe9 1\n")
    with pytest.raises(InputError, match="DET_train_30classes.txt is not text in UTF-8 .*; expected a list"):
        StillSet(tmp_path, ("DET_train_30classes",), name="det")


# ---- the plain format


def plain_content(folder):
    """A folder of four frames and one of three; two classes whose ids have a gap. Files and content are sound."""
    for video, count in (("a", 4), ("b", 3)):
        (folder / "videos" / video).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (64, 48), (60 * i, 0, 0)).save(folder / f"videos/{video}/{i + 8}.png")
    images = [(1, 0), (1, 2), (1, 3), (2, 0), (2, 1)]
    return {"categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
            "videos": [{"id": 1, "file_name": "videos/a"}, {"id": 2, "file_name": "videos/b", "length": 3}],
            "images": [{"id": i, "video_id": video, "frame_index": frame}
                       for i, (video, frame) in enumerate(images, 1)],
            "annotations": [{"id": i, "image_id": image, "category_id": label, "bbox": [1.5, 2, 20, 30], "track_id": 0}
                            for i, (image, label) in enumerate([(1, 7), (2, 7), (4, 3), (5, 3)], 1)]}


def save(folder, content):
    path = folder / "train.json"
    path.write_text(json.dumps(content))
    return path


def test_clean_plain_set_has_no_problem_and_the_counts_of_a_plain_recount(tmp_path):
    content = plain_content(tmp_path)
    del content["annotations"][2]["track_id"]
    content["info"] = {"made": "by hand"}
    checked = PlainSet(save(tmp_path, content), name="x/train")
    result = check(checked, sample=None)
    counts = result.counts
    assert by_kind(result) == {} and result.decoded == len(checked) == 5 and checked.classes == ["dog", "cat"]
    assert counts.boxes == {"cat": 2, "dog": 2} and counts.tracks == 2 and counts.untracked == 1
    assert counts.empty == 1 and counts.lengths == {"videos/a": 4, "videos/b": 3} and not checked.notes()
    assert "tracks   2; 1 boxes have none" in "\n".join(counts.lines())


def test_crowd_regions_are_counted_apart_and_reported(tmp_path):
    content = plain_content(tmp_path)
    content["annotations"][1]["iscrowd"] = 1
    checked = PlainSet(save(tmp_path, content), name="x/train")
    result = check(checked, sample=0)
    assert by_kind(result) == {"crowd": ["annotations[1].bbox"]} and result.counts.boxes == {"cat": 1, "dog": 2}
    assert result.counts.empty == 2 and result.counts.lines()[2] == "boxes    3; 1 more are marked as crowd"


def test_set_without_a_single_object_is_not_called_free_of_problems(run, tmp_path, capsys):
    """Training refuses it: it leaves out all frames."""
    content = plain_content(tmp_path / "mine")
    content["annotations"] = []
    place = save(tmp_path / "mine", content)
    assert by_kind(check(PlainSet(place, name="x"), sample=0)) == {"no object": [str(place)]}
    assert run(tmp_path, "mine/train") == 3
    captured = capsys.readouterr()
    assert "1 problem: 1 where training stops" in captured.err and "none of the 5 labelled frames" in captured.out
    assert "labelled 5, of these without an object 5 (training leaves them out)" in captured.out
    content["annotations"] = [{"id": 1, "image_id": 1, "category_id": 9, "bbox": [1, 1, 9, 9]}]  # might be one
    assert by_kind(check(PlainSet(save(tmp_path / "mine", content), name="x"), sample=0)) == {
        "unknown class": ["annotations[0].category_id"]}


def test_set_of_crowd_regions_alone_has_no_object_to_train_on(tmp_path):
    content = plain_content(tmp_path)
    content["annotations"] = [{**content["annotations"][0], "iscrowd": 1}]
    assert set(by_kind(check(PlainSet(save(tmp_path, content), name="x"), sample=0))) == {"crowd", "no object"}


PLAIN = [
    ("structure", "images[1].frame_index", lambda c: c["images"][1].pop("frame_index")),
    ("structure", "annotations[2].bbox", lambda c: c["annotations"][2].update(bbox=[1, 2, "3", 4])),
    ("structure", "annotations[0]", lambda c: c["annotations"].__setitem__(0, [])),
    ("structure", "videos[1].length", lambda c: c["videos"][1].update(length=5)),
    ("duplicate id", "annotations[3].id", lambda c: c["annotations"][3].update(id=1)),
    ("duplicate id", "images[2].frame_index", lambda c: c["images"][2].update(frame_index=0)),
    ("unknown id", "annotations[1].image_id", lambda c: c["annotations"][1].update(image_id=99)),
    ("unknown id", "images[4].video_id", lambda c: c["images"][4].update(video_id=9)),
    ("unknown id", "images[0].frame_index", lambda c: c["images"][0].update(frame_index=4)),
    ("unknown class", "annotations[3].category_id", lambda c: c["annotations"][3].update(category_id=5)),
    ("missing picture", "videos[1].file_name", lambda c: c["videos"][1].update(file_name="videos/none")),
    ("missing picture", "images[4].file_name",
     lambda c: (c["videos"][1].pop("length"), c["images"][4].update(frame_index=3, file_name="videos/b/11.png"))),
    ("size", "images[3].width", lambda c: c["images"][3].update(width=80, height=48)),
    ("box not finite", "annotations[0].bbox", lambda c: c["annotations"][0].update(bbox=[1, float("nan"), 2, 3])),
    ("box not finite", "annotations[0].bbox", lambda c: c["annotations"][0].update(bbox=[1, 10**400, 2, 3])),
    ("box swapped", "annotations[0].bbox", lambda c: c["annotations"][0].update(bbox=[9, 9, -5, 3])),
    ("box degenerate", "annotations[0].bbox", lambda c: c["annotations"][0].update(bbox=[9, 9, 0.9, 3])),
    ("box outside", "annotations[0].bbox", lambda c: c["annotations"][0].update(bbox=[63.5, 9, 30, 3])),
    ("box clipped", "annotations[0].bbox", lambda c: c["annotations"][0].update(bbox=[60, 9, 5, 3])),
    ("track class", "annotations[1].bbox", lambda c: c["annotations"][1].update(category_id=3)),
    ("track twice", "annotations[4].bbox", lambda c: c["annotations"].append({**c["annotations"][0], "id": 9})),
]


@pytest.mark.parametrize("kind, where, change", PLAIN, ids=[f"{kind}: {where}" for kind, where, _ in PLAIN])
def test_problem_planted_in_a_plain_set_is_found_exactly_once_with_its_place(tmp_path, kind, where, change):
    content = plain_content(tmp_path)
    change(content)
    path = save(tmp_path, content)
    result = check(PlainSet(path, name="x/train"), sample=None)
    assert by_kind(result) == {kind: [where]}
    fatal = {problem.where for problem in inspect_video_json(path)[1] if problem.fatal}
    assert fatal <= set(by_kind(result)[kind])


@pytest.mark.parametrize("damage", ["cut", "size"])
def test_picture_that_only_decoding_shows_to_be_wrong_is_found(tmp_path, damage):
    content = plain_content(tmp_path)
    path = tmp_path / "videos/b/9.png"
    if damage == "cut":
        noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:4000])
    else:
        content["videos"][1].update(width=64, height=48)
        Image.new("RGB", (60, 48)).save(path)
    checked = PlainSet(save(tmp_path, content), name="x/train")
    assert by_kind(check(checked, sample=None)) == {{"cut": "unreadable picture"}.get(damage, "size"): [str(path)]}
    assert by_kind(check(checked, sample=0)) == {}


def test_sound_entries_are_counted_and_checked_beside_broken_ones(tmp_path):
    content = plain_content(tmp_path)
    content["images"][3]["video_id"] = "two"  # takes its box with it
    content["annotations"][0]["bbox"] = [1, 2, -3, 4]
    content["annotations"][3]["image_id"] = None
    checked = PlainSet(save(tmp_path, content), name="x/train")
    result = check(checked)
    assert by_kind(result) == {"structure": ["images[3].video_id", "annotations[3].image_id"],
                               "box swapped": ["annotations[0].bbox"]}
    assert result.counts.boxes == {"cat": 1} and result.counts.labelled == {"videos/a": 3, "videos/b": 1}
    assert checked.notes()[0].startswith("entries  3 with a problem")


def test_frame_behind_the_end_does_not_hide_what_is_wrong_with_its_video_besides(tmp_path):
    content = plain_content(tmp_path)
    content["images"][0]["frame_index"] = 9
    content["annotations"][1]["bbox"] = [60, 2, 20, 30]
    (tmp_path / "videos/a/10.png").write_bytes(b"")
    result = check(PlainSet(save(tmp_path, content), name="x/train"), sample=None)
    assert by_kind(result) == {"unknown id": ["images[0].frame_index"], "box clipped": ["annotations[1].bbox"],
                               "unreadable picture": [f"{tmp_path}/videos/a/10.png"]}


def video_file(path, count=6):
    from stpn.engine.video_writer import VideoWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps=8) as video:
        for i in range(count):
            video.write(np.full((48, 64, 3), 40 * i, np.uint8), i / 8)


def test_frames_of_a_video_file_are_decoded_and_measured(tmp_path):
    video_file(tmp_path / "videos/c.mp4")
    content = plain_content(tmp_path)
    content["videos"].append({"id": 3, "file_name": "videos/c.mp4"})
    content["images"] += [{"id": 9, "video_id": 3, "frame_index": 5}, {"id": 10, "video_id": 3, "frame_index": 1}]
    checked = PlainSet(save(tmp_path, content), name="x/train")
    pictures = {place: image for _, place, image in checked.decode(range(len(checked)))}
    assert abs(int(pictures[f"{tmp_path}/videos/c.mp4#5"].mean()) - 200) < 5
    assert abs(int(pictures[f"{tmp_path}/videos/c.mp4#1"].mean()) - 40) < 5
    result = check(checked, sample=None)
    assert by_kind(result) == {} and result.decoded == 7 and result.counts.lengths["videos/c.mp4"] == 6
    (tmp_path / "videos/c.mp4").write_text("no video")
    assert by_kind(check(PlainSet(checked.place, name="x"))) == {"unreadable picture": ["videos[2].file_name"]}


@pytest.mark.parametrize("text, says", [("{", "is not JSON"), ("[]", "expected an object"),
                                        ('{"videos": []}', "categories.*; .*images"), ("", "is not JSON")])
def test_file_that_is_no_data_set_at_all_is_an_input_error(tmp_path, text, says):
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(InputError, match=says) as error:
        PlainSet(tmp_path / "train.json", name="x")
    assert "  " not in str(error.value)


def test_command_that_lists_all_problems_can_be_typed_as_it_stands(tmp_path):
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(InputError, match="list all with datasets/check.py 'my set/b'$"):
        load_video_json(tmp_path / "b.json", video_index=VideoIndex(), name="my set/b")


# ---- boxes


corner = st.one_of(st.floats(-20, 90, width=32), st.integers(-3, 66), st.sampled_from([float("nan"), float("inf")]))
corners = st.tuples(corner, corner, corner, corner)


@given(corners)
def test_dropped_and_clipped_boxes_are_those_of_the_xml_loader(box):
    fault, kept = box_fault(box, (64, 48), inclusive=True), frame_xml.clip(box, (64, 48))
    assert (kept is None) == (fault is not None and KINDS[fault].effect != GOES_ON)
    if kept is not None:
        frame = CheckedFrame("", "v", 0, (64, 48), [CheckedBox("", box, "cat", None)])
        assert usable_boxes(frame, inclusive=True)[0].corners == kept
        assert (fault == "box clipped") == (max(abs(a - b) for a, b in zip(kept, box)) > 1e-6)


@settings(max_examples=25)
@given(st.lists(corners, min_size=1, max_size=20))
def test_dropped_boxes_are_those_of_the_plain_loader(boxes):
    path = Path(tempfile.gettempdir()) / f"stpn-check-{os.getpid()}.json"
    content = {"categories": [{"id": 1, "name": "cat"}],
               "videos": [{"id": 1, "file_name": "none.mp4", "width": 64, "height": 48}],
               "images": [{"id": 1, "video_id": 1, "frame_index": 0}],
               "annotations": [{"id": i, "image_id": 1, "category_id": 1, "bbox": [x, y, w, h]}
                               for i, (x, y, w, h) in enumerate(boxes)]}
    try:
        path.write_text(json.dumps(content))
        dicts, _ = load_video_json(path, video_index=VideoIndex())
        checked = PlainSet(path, name="x")
        frame = checked.frame(0, None)
        assert [list(b.corners) for b in usable_boxes(frame, inclusive=False)] == [
            a["bbox"] for a in dicts[0]["annotations"]]
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("count, wanted, expected", [
    (0, 5, []), (3, 5, [0, 1, 2]), (9, 3, [0, 4, 8]), (9, 1, [0]), (9, 0, []), (100, 4, [0, 33, 66, 99])])
def test_sample_is_evenly_spread_and_holds_the_ends(count, wanted, expected):
    assert spread(count, wanted) == expected


# ---- the contact sheet


def test_sheet_has_its_size_and_boxes_in_the_colour_of_their_track(tiny_root, tmp_path):
    checked = layout_set(tiny_root)
    result = check(checked)
    drawn = check_report.draw(tmp_path / "new" / "sheet.png", checked, result.counts, videos=2, frames=3)
    sheet = read_image(tmp_path / "new" / "sheet.png")
    (width, height), margin, title = contact_sheet.TILE, contact_sheet.MARGIN, contact_sheet.TITLE
    assert drawn == 6  # pictures of 64x48 fill tiles of 320x240
    assert sheet.shape == (2 * (height + title + margin) + margin, 3 * (width + margin) + margin, 3)
    color = contact_sheet.track_color(0)
    for row, column, frame in ((0, 0, 0), (0, 1, 2), (0, 2, 4), (1, 2, 2)):  # val/c has 5 frames, val/d 3
        top, left = margin + row * (height + title + margin) + title, margin + column * (width + margin)
        tile = sheet[top:top + height, left:left + width]
        x1, y1, x2, y2 = (5 * side for side in (4 + 2 * frame, 5, 20 + 2 * frame, 30))
        for y, x in ((y1, x1), (y2 - 1, x1), (y1, x2 - 1), (y2 - 1, x2 - 1), ((y1 + y2) // 2, x1 + 1)):
            assert tuple(tile[y, x]) == color, (row, column, y, x)
        grey = 40 * frame + 10
        assert np.abs(tile[(y1 + y2) // 2, (x1 + x2) // 2].astype(int) - grey).max() <= 3
        assert np.abs(tile[-1, -1].astype(int) - grey).max() <= 3


def test_sheet_of_a_set_without_objects_is_not_written(tiny_root, layout, tmp_path):
    for video, count in (("c", 5), ("d", 3)):
        for i in range(count):
            layout.xml(tiny_root / f"Annotations/VID/val/{video}/{i:06d}.xml", boxes=[])
    checked = layout_set(tiny_root)
    (tmp_path / "sheet.png").write_text("of the set as it was before")
    assert check_report.draw(tmp_path / "sheet.png", checked, check(checked).counts) == 0
    assert not (tmp_path / "sheet.png").exists()


def test_colours_of_neighbouring_tracks_differ_clearly():
    colors = np.array([contact_sheet.track_color(i) for i in (None, *range(20))], int)
    for i in range(1, 20):
        assert np.abs(colors[i] - colors[i + 1]).sum() > 150 and np.abs(colors[i] - colors[0]).sum() > 150


def test_strange_frames_and_names_can_be_drawn():
    for shape in ((1, 1), (2000, 3), (3, 2000)):
        image = np.zeros((*shape, 3), np.uint8)
        tile = contact_sheet.draw_tile(image, [((0, 0, shape[1], shape[0]), "名前 <b>", -5)], "é" * 500)
        assert tile.width == contact_sheet.TILE[0] and tile.height <= contact_sheet.TILE[1] + contact_sheet.TITLE


def test_line_ends_and_other_controls_in_names_are_drawn_as_question_marks():
    image, strange = np.zeros((9, 9, 3), np.uint8), "a\nb\r\t\x00\u2028\ud800 c"
    assert sheet_font.font_for(strange)[1] == "a?b????? c" and not sheet_font.drawable(strange)
    plain, other = (np.asarray(contact_sheet.draw_tile(image, [((0, 0, 9, 9), text, 1)], text))
                    for text in ("a?b????? c", strange))
    assert np.array_equal(plain, other)


def test_letters_beyond_ascii_are_letters_and_not_boxes():
    """Each must look unlike the sign that a font draws for a letter it lacks."""
    for text in ("é", "Я", "ж", "ش", "ß", "λ"):
        font, drawn = sheet_font.font_for(text)
        assert drawn == text and bytes(font.getmask(text)) != bytes(font.getmask("\U0010ffff")), text


def test_font_that_has_the_letters_is_taken_and_a_broken_one_passed_over(tmp_path, monkeypatch):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    latin, wide = str(sheet_font._FIRST.with_name("cmr10.ttf")), str(sheet_font._FIRST)
    monkeypatch.setattr(sheet_font, "_fonts", lambda: [str(tmp_path / "broken.ttf"), latin, wide])
    sheet_font.font_for.cache_clear()
    assert [sheet_font.font_for(text)[0].path for text in ("cat", "кот")] == [latin, wide]
    sheet_font.font_for.cache_clear()


def test_class_whose_letters_no_font_has_is_drawn_by_its_number_and_the_report_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(sheet_font, "_fonts", lambda: [str(sheet_font._FIRST)])
    sheet_font.font_for.cache_clear()
    drawn = []
    monkeypatch.setattr(check_report, "draw_tile", lambda image, boxes, title: drawn.append(boxes))
    monkeypatch.setattr(check_report, "write_sheet", lambda path, rows: None)
    content = plain_content(tmp_path)
    content["categories"] = [{"id": 7, "name": "猫"}, {"id": 3, "name": "собака"}]
    checked = PlainSet(save(tmp_path, content), name="x")
    result = check(checked, sample=0)
    check_report.draw(tmp_path / "sheet.png", checked, result.counts)
    assert {label for boxes in drawn for _, label, _ in boxes} == {"class 1", "собака"}
    text = check_report.text(checked, result)
    assert "in the picture, class 1 is 猫\n" in text and text.count("собака") == 1  # in the table of classes
    assert sheet_font.font_for("a猫b")[1] == "a?b"
    sheet_font.font_for.cache_clear()


# ---- the script


def test_exit_code_says_whether_training_can_use_everything(run, tiny_root, layout, tmp_path, capsys):
    assert run(tiny_root.parent, "imagenet_vid_val") == 0
    assert "no problems" in capsys.readouterr().out
    assert read_image(tmp_path / "out/imagenet_vid_val.png").shape[2] == 3
    layout.xml(tiny_root / XML, boxes=[(0, layout.CAR, 50, 3, 64, 20)])
    assert run(tiny_root.parent, "imagenet_vid_val") == 0
    assert "1 problem: 1 where training goes on" in capsys.readouterr().out
    layout.xml(tiny_root / XML, boxes=[(0, layout.CAR, 50, 3, 50, 20)])
    assert run(tiny_root.parent, "imagenet_vid_val") == 3
    captured = capsys.readouterr()
    assert "\n1 box less than a pixel wide or high; training leaves it out\n" in captured.out
    assert captured.err == "partial result: imagenet_vid_val has 1 problem: 1 where training leaves them out\n"
    assert run(tiny_root.parent, "imagenet_vid_va") == 2
    assert "imagenet_vid_val" in capsys.readouterr().err
    assert run(tiny_root.parent, "imagenet_vid_val", "--videos", "-1") == 2


def test_screen_shows_twenty_of_a_kind_and_the_file_all(run, tmp_path, capsys):
    folder = tmp_path / "sets" / "mine"
    content = plain_content(folder)
    content["annotations"] = [{"id": i, "image_id": 1, "category_id": 3, "bbox": [i, 1, -1, 1]} for i in range(23)]
    save(folder, content)
    assert run(tmp_path / "sets", "mine/train", "--sample-frames", "2") == 3
    screen, text = capsys.readouterr().out, (tmp_path / "out" / "mine_train.txt").read_text()
    assert screen.count("annotations[") == 20 and "... and 3 more" in screen and "decoded  2 of the 5" in screen
    assert text.count("annotations[") == 23 and "more" not in text.split("23 boxes")[1]
    assert not (tmp_path / "out" / "mine_train.png").exists()


def test_script_runs_as_a_user_types_it(tmp_path):
    folder = tmp_path / "sets" / "my set"
    content = plain_content(folder)
    write_video_json(folder / "train.json", **content)
    (folder / "videos/a/8.png").unlink()  # of frames 0, 2, 3 the last is then behind the end
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), "my set/train", "--decode-all"], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "DETECTRON2_DATASETS": str(tmp_path / "sets"), "PYTHONPATH": str(ROOT)}, timeout=120)
    assert ended.returncode == 3, ended.stderr
    assert "images[2].frame_index: is 3, but" in ended.stdout and "Traceback" not in ended.stderr
    assert (tmp_path / "output/check/my set_train.png").is_file()


def test_names_of_all_formats_open(tiny_root, layout, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tiny_root.parent))
    save(tiny_root.parent / "mine", plain_content(tiny_root.parent / "mine"))
    layout.list(tiny_root, "DET_train_30classes", ["train/f/x 1"])
    kinds = {name: type(open_set(name)) for name in ("imagenet_vid_val", "imagenet_det_30cls", "mine/train")}
    assert list(kinds.values()) == [LayoutSet, StillSet, PlainSet]
    assert list(open_set("imagenet_vid_val_mini").lengths) == ["val/c"]


def test_vid_mini_has_the_counts_of_its_source_list_and_no_problem(sample_data_dir, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(sample_data_dir))
    results = [check(open_set(name), sample=4) for name in ("vid_mini_train_all", "vid_mini_val")]
    assert [result.findings.count() for result in results] == [0, 0]
    assert sum(result.counts.labelled.total() for result in results) == 454
    assert sum(result.counts.boxes.total() for result in results) == 874
    assert sum(result.counts.tracks for result in results) == 26
