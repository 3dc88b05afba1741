"""datasets/prepare_*.py: hand-written sources with known answers, and round trips."""

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import plain_sets
import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_script import load_script
from PIL import Image

from stpn.data.builtin import ensure_registered
from stpn.data.check.checking import check
from stpn.data.check.plain import PlainSet
from stpn.data.convert import converting
from stpn.data.convert.cocovid import convert_cocovid
from stpn.data.convert.cvat import boxes_of, convert_cvat
from stpn.data.convert.cvat_xml import TrackBox
from stpn.data.convert.imagenet_vid import convert_imagenet_vid
from stpn.data.convert.mot import convert_mot
from stpn.data.datasets import load_imagenet_vid, load_video_json, write_video_json
from stpn.data.datasets.key_frames import fifteen_frames
from stpn.data.video import VideoIndex
from stpn.errors import InputError, run_script

ROOT = Path(__file__).parents[2]


def pictures(folder, names, size=(64, 48)):
    folder.mkdir(parents=True)
    for name in names:
        Image.new("RGB", size).save(folder / name)


def boxes(content):
    """-> {(video's file name, frame index): list of (class, bbox, track, flags that are set)}."""
    videos = {row["id"]: row["file_name"] for row in content["videos"]}
    names = {row["id"]: row["name"] for row in content["categories"]}
    frames = {row["id"]: (videos[row["video_id"]], row["frame_index"]) for row in content["images"]}
    found = {place: [] for place in frames.values()}
    for row in content["annotations"]:
        flags = {name for name in ("iscrowd", "occluded", "generated") if row.get(name)}
        found[frames[row["image_id"]]].append((names[row["category_id"]], row["bbox"], row.get("track_id"), flags))
    return found


@pytest.fixture
def run(monkeypatch, tmp_path):
    """run(script's name, *arguments) -> exit code, with DETECTRON2_DATASETS tmp_path."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))

    def call(name, *arguments):
        script = load_script(ROOT / "datasets" / f"{name}.py")
        with pytest.raises(SystemExit) as ended:
            run_script(lambda: script.main([*map(str, arguments)]))
        return ended.value.code

    return call


# ---- what all have in common


def test_output_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    path = converting.prepare_output(tmp_path / "new" / "train.json", overwrite=False)
    plain = converting.PlainSet(["cat"])
    with pytest.raises(InputError, match="nothing is left to write"):
        converting.save(plain, path)
    image = plain.add_frame(plain.add_video("videos/a", size=(64, 48), length=3), 0)
    plain.add_box(image, "cat", (0.1, 0.2, 0.3, 0.6), track=4, occluded=1, generated=0)
    plain.add_box(image, "dog", (1, 2, 3, 4))
    plain.add_box(image, "cat", (1, float("nan"), 3, 4))
    lines = converting.save(plain, path)
    assert lines == [f"wrote {path}: 1 videos, 1 labelled frames, 1 boxes, 1 classes",
                     "dropped: 1 boxes of class 'dog'; 1 boxes with a corner that is not a number",
                     "next: python datasets/check.py new/train"]
    assert json.loads(path.read_text())["annotations"] == [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0.1, 0.2, 0.2, 0.4], "track_id": 4, "occluded": 1}]
    with pytest.raises(InputError, match="exists; .*--overwrite"):
        converting.prepare_output(path, overwrite=False)
    assert converting.prepare_output(path, overwrite=True) == path
    with pytest.raises(InputError, match="ends in .json"):
        converting.prepare_output(tmp_path / "train", overwrite=False)
    assert os.listdir(path.parent) == ["train.json"]


def test_next_command_finds_the_set_wherever_it_was_written(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "elsewhere"))
    assert converting.next_command(tmp_path / "my set" / "a.json") == (
        f"DETECTRON2_DATASETS={shlex.quote(str(tmp_path))} python datasets/check.py 'my set/a'")


def test_video_is_named_relative_to_the_json_also_through_links(tmp_path):
    (tmp_path / "disk" / "set").mkdir(parents=True)
    (tmp_path / "disk" / "clips").mkdir()
    (tmp_path / "links").mkdir()
    os.symlink(tmp_path / "disk" / "set", tmp_path / "links" / "set")
    os.symlink(tmp_path / "disk" / "clips", tmp_path / "disk" / "set" / "videos")
    output = tmp_path / "links" / "set" / "train.json"
    assert converting.relative(tmp_path / "links/set/videos/a.mp4", output) == "videos/a.mp4"
    outside = converting.relative(tmp_path / "disk/clips/a.mp4", output)
    assert os.path.realpath(output.parent / outside) == str(tmp_path / "disk/clips/a.mp4")


def test_class_twice_or_video_twice_is_an_input_error():
    with pytest.raises(InputError, match="each once"):
        converting.PlainSet(["cat", "cat"])
    plain = converting.PlainSet(["cat"])
    plain.add_video("a")
    with pytest.raises(InputError, match="two annotations are of one video, a"):
        plain.add_video("a")


def test_all_converters_have_the_common_options(run, capsys):
    parser = argparse.ArgumentParser()
    converting.add_options(parser)
    options = {option for action in parser._actions for option in action.option_strings}
    for script in sorted({*(ROOT / "datasets").glob("prepare_*.py")} - {ROOT / "datasets" / "prepare_ytvis_split.py"}):
        assert run(script.stem, "--help") == 0
        text = capsys.readouterr().out
        assert all(option in text for option in options), script


def test_converter_without_a_single_box_writes_nothing_and_names_the_classes_it_found(tmp_path, run, capsys):
    """Wrong or misspelt --classes used to end in a set that trains on nothing."""
    folder = write_mot(tmp_path / "a", ["1,7,1,1,10,20,1,3,0.9", "2,8,1,1,10,20,1,3,0.9", "1,9,1,1,10,20,0,1,1"])
    output = tmp_path / "set" / "train.json"
    assert run("prepare_mot", folder, "--output", output) == 2
    assert "no box of the classes pedestrian; found boxes of: car (2); dropped: " in capsys.readouterr().err
    assert run("prepare_mot", folder, "--output", output, "--classes", "car", "zebra") == 2
    assert "--classes names zebra; the annotations know pedestrian, " in capsys.readouterr().err
    xml = write_cvat(tmp_path / "a.xml")
    assert run("prepare_cvat", xml, "--video", folder / "img1", "--output", output, "--classes", "zebra") == 2
    assert "--classes names zebra; the annotations know person, car" in capsys.readouterr().err
    assert not output.exists()


def test_file_that_is_no_utf8_or_a_folder_ends_in_one_line_and_not_a_traceback(tmp_path, run, capsys):
    folder = write_mot(tmp_path / "a", ["1,7,1,1,10,20,1,1,0.9"])
    places = [folder / "gt" / "gt.txt", folder / "gt" / "labels.txt", folder / "seqinfo.ini"]
    for place in places:
        before = place.read_bytes() if place.exists() else b""
        place.write_bytes(b"caf\xe9\n")
        assert run("prepare_mot", folder, "--output", tmp_path / "t.json") == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and str(place) in error, place
        place.write_bytes(before)
    places[0].unlink()
    places[0].mkdir()
    for script, source in (("prepare_mot", folder), ("prepare_cvat", tmp_path)):
        assert run(script, source, "--output", tmp_path / "t.json") == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "is a folder; expected" in error


@pytest.mark.parametrize("kind", [IsADirectoryError, NotADirectoryError])
def test_path_of_the_wrong_kind_is_the_users_error(kind):
    def fail():
        raise kind(20, "of another kind", "x")

    with pytest.raises(SystemExit) as ended:
        run_script(fail)
    assert ended.value.code == 2


def test_picture_that_gets_lost_after_converting_is_noticed_and_shifts_no_label(tmp_path):
    """Without the videos' length, all labels behind the gap moved by one frame."""
    folder = write_mot(tmp_path / "set" / "a", MOT_ROWS)
    park = tmp_path / "set" / "videos" / "park"
    pictures(park, [f"{i}.png" for i in range(6)])
    converted = {"a": convert_mot([folder], tmp_path / "set" / "a.json"),
                 "b": convert_cvat([write_cvat(tmp_path / "park.xml")], tmp_path / "set" / "b.json", videos=[park])}
    for name, plain in converted.items():
        converting.save(plain, tmp_path / "set" / f"{name}.json")
        load_video_json(tmp_path / "set" / f"{name}.json", video_index=VideoIndex())
    (folder / "img1" / "000002.jpg").unlink()
    (park / "2.png").unlink()
    for name, length in (("a", 3), ("b", 6)):
        with pytest.raises(InputError, match=f"length is {length}, but .* has {length - 1} frames"):
            load_video_json(tmp_path / "set" / f"{name}.json", video_index=VideoIndex())


def test_length_of_a_video_file_is_counted_and_of_one_that_is_not_there_left_out(tmp_path):
    video = plain_sets.write_file(tmp_path / "s.mp4", plain_sets.pictures(7))
    xml = write_cvat(tmp_path / "a.xml")
    for path, length in ((video, 7), (tmp_path / "none.mp4", None)):
        content = convert_cvat([xml], tmp_path / "b.json", videos=[path]).content()
        assert content["videos"][0].get("length") == length
    folder = write_mot(tmp_path / "a", MOT_ROWS)
    assert convert_mot([folder], tmp_path / "b.json", video=video).content()["videos"][0]["length"] == 7
    (folder / "seqinfo.ini").write_text("[Sequence]\nseqLength=8\n")
    with pytest.raises(InputError, match="a has 8 frames .* but .*s.mp4 has 7"):
        convert_mot([folder], tmp_path / "b.json", video=video)


def test_file_that_was_not_written_is_not_to_be_checked(tmp_path):
    with pytest.raises(InputError, match="not written: ") as error:
        write_video_json(tmp_path / "a.json", categories=[], videos=[], images=[], annotations=[])
    assert "check.py" not in str(error.value)


# ---- CVAT


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task>
    <name>a task</name><size>6</size><mode>interpolation</mode><start_frame>0</start_frame><stop_frame>5</stop_frame>
    <frame_filter></frame_filter>
    <labels><label><name>person</name></label><label><name>car</name></label>
      <label><name>hand</name><parent>person</parent></label></labels>
    <original_size><width>64</width><height>48</height></original_size>
    <source>street.mp4</source>
  </task><dumped>today</dumped></meta>
  <track id="3" label="car" source="manual">
    <box frame="1" outside="0" occluded="0" keyframe="1" xtl="10.00" ytl="5.00" xbr="20.00" ybr="15.50" z_order="0">
      <attribute name="colour">red</attribute></box>
    <box frame="2" outside="0" occluded="1" keyframe="0" xtl="12.00" ytl="5.00" xbr="22.00" ybr="15.50" z_order="0"/>
    <box frame="3" outside="1" occluded="0" keyframe="1" xtl="14.00" ytl="5.00" xbr="24.00" ybr="15.50" z_order="0"/>
    <box frame="5" outside="0" occluded="0" keyframe="1" xtl="30.00" ytl="5.00" xbr="40.00" ybr="15.50" z_order="0"/>
  </track>
  <track id="0" label="person">
    <box frame="2" outside="0" occluded="0" keyframe="1" xtl="0" ytl="0" xbr="10" ybr="20"/>
    <box frame="4" outside="0" occluded="0" keyframe="1" xtl="10" ytl="4" xbr="24" ybr="20"/>
  </track>
  <track id="4" label="person">
    <polygon frame="2" outside="0" occluded="0" keyframe="1" points="1,1;5,1;3,4"/>
    <polygon frame="3" outside="1" occluded="0" keyframe="1" points="1,1;5,1;3,4"/>
  </track>
</annotations>
"""
CVAT_BOXES = {
    0: [], 1: [("car", [10, 5, 10, 10.5], 3, set())],
    2: [("car", [12, 5, 10, 10.5], 3, {"occluded", "generated"}), ("person", [0, 0, 10, 20], 0, set())],
    3: [("person", [5, 2, 12, 18], 0, {"generated"})],  # half way, and the car is outside
    4: [("person", [10, 4, 14, 16], 0, set())], 5: [("car", [30, 5, 10, 10.5], 3, set())]}


def write_cvat(path, text=CVAT):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_cvat_tracks_become_the_boxes_that_cvat_shows(tmp_path):
    path = write_cvat(tmp_path / "street.xml")
    plain = convert_cvat([path], tmp_path / "train.json", videos=[tmp_path / "clips" / "s.mp4"])
    content = plain.content()
    assert boxes(content) == {("clips/s.mp4", frame): found for frame, found in CVAT_BOXES.items()}
    assert content["categories"] == [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}]
    assert content["videos"] == [{"id": 1, "file_name": "clips/s.mp4", "width": 64, "height": 48}]
    assert plain.dropped == {"polygon shapes (only boxes are taken over)": 1} and plain.notes == []


def test_cvat_frame_step_and_start_give_the_labelled_frames(tmp_path):
    text = CVAT.replace("<start_frame>0", "<start_frame>1").replace("<stop_frame>5", "<stop_frame>9")
    text = text.replace("<frame_filter></", "<frame_filter>step=4</")
    path = write_cvat(tmp_path / "a.xml", text.replace('frame="2"', 'frame="1"').replace('frame="4"', 'frame="9"'))
    content = convert_cvat([path], tmp_path / "train.json", videos=["a.mp4"], classes=["person"]).content()
    assert {frame: found for (_, frame), found in boxes(content).items()} == {
        1: [("person", [0, 0, 10, 20], 0, set())], 5: [("person", [5, 2, 12, 18], 0, {"generated"})],
        9: [("person", [10, 4, 14, 16], 0, set())]}


def test_cvat_frames_without_the_stated_range_are_those_with_boxes_and_a_note_says_so(tmp_path):
    path = write_cvat(tmp_path / "a.xml", CVAT.replace("<stop_frame>5", "<stop_frame>3"))
    plain = convert_cvat([path], tmp_path / "train.json", videos=["a.mp4"])
    assert sorted(frame for _, frame in boxes(plain.content())) == [1, 2, 4, 5] and len(plain.notes) == 1
    path = write_cvat(tmp_path / "b.xml", CVAT.replace("start_frame", "x").replace("stop_frame", "y"))
    content = convert_cvat([path], tmp_path / "train.json", videos=["a.mp4"]).content()
    assert sorted(frame for _, frame in boxes(content)) == [0, 1, 2, 3, 4, 5]  # from <size>


def test_cvat_rotated_box_becomes_the_upright_box_around_it(tmp_path):
    path = write_cvat(tmp_path / "a.xml", CVAT.replace('xbr="10" ybr="20"/>', 'xbr="10" ybr="20" rotation="90.00"/>'))
    plain = convert_cvat([path], tmp_path / "train.json", videos=["a.mp4"])
    (rotated,) = [found for (_, frame), found in boxes(plain.content()).items() if frame == 2]
    assert rotated[1] == ("person", [-5, 5, 20, 10], 0, set())
    assert plain.notes == [f"{path}: 1 rotated boxes became the upright boxes around them"]


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=6, unique_by=lambda key: key[0]))
def test_cvat_boxes_between_keyframes_follow_numpys_line(keys):
    track = [TrackBox(frame, outside, 0, 0, (3.0 * frame * frame, 1, 200, 9)) for frame, outside in sorted(keys)]
    found = {box.frame: box.corners[0] for box in boxes_of(track, list(range(13)))}
    expected = {}
    for frame in range(13):
        before = [box for box in track if box.frame <= frame]
        after = [box for box in track if box.frame > frame]
        if not before or before[-1].outside or (not after and before[-1].frame != frame):
            continue
        pair = [before[-1], *([after[0]] if after and not after[0].outside else [])]
        expected[frame] = np.interp(frame, [box.frame for box in pair], [box.corners[0] for box in pair])
    assert found.keys() == expected.keys() and np.allclose([found[f] for f in expected], list(expected.values()))


def test_cvat_script_finds_the_videos_and_ends_in_a_set_that_loads(run, tmp_path, capsys):
    pictures(tmp_path / "my_set/videos/street", [f"{i}.png" for i in range(6)])
    pictures(tmp_path / "my_set/videos/park.mp4", [f"{i}.png" for i in range(6)])  # a folder may have such a name
    files = [write_cvat(tmp_path / name, CVAT.replace("street.mp4", source))
             for name, source in (("one.xml", "street"), ("park.xml", ""))]
    output = tmp_path / "my_set" / "train.json"
    assert run("prepare_cvat", *files, "--output", output) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"wrote {output}: 2 videos, 12 labelled frames, 12 boxes, 2 classes",
        "dropped: 2 polygon shapes (only boxes are taken over)", "next: python datasets/check.py my_set/train"]
    assert check(PlainSet(output, name="my_set/train"), sample=None).findings.count() == 0
    ensure_registered(["my_set/train"])
    before = output.read_bytes()
    assert run("prepare_cvat", files[0], "--output", output) == 2 and output.read_bytes() == before
    assert run("prepare_cvat", files[0], "--output", output, "--overwrite") == 0 and output.read_bytes() != before
    assert run("prepare_cvat", write_cvat(tmp_path / "x.xml", CVAT.replace("street", "none")), "--output",
               tmp_path / "y.json") == 2
    assert f"looked in {tmp_path / 'videos'} for none.mp4, none, x" in capsys.readouterr().err


@pytest.mark.parametrize("text, says", [
    ("<annotations>", "cannot read"), ("<annotations><image id='0'/></annotations>", "CVAT for video 1.1"),
    ("<other/>", "CVAT for video 1.1"), (CVAT.replace('xtl="10.00"', ""), "without xtl"),
    (CVAT.replace('frame="1"', 'frame="one"'), "cannot read.*one"), (CVAT.replace(' label="car"', ""), "without label"),
    ("<annotations><meta><project/></meta></annotations>", "not the project"),
    (CVAT.replace("<frame_filter></", "<frame_filter>2</"), "step=N"),
    (CVAT.replace('encoding="utf-8"', 'encoding="none-such"'), "unknown encoding"),
    (CVAT.replace('<box frame="5"', '<box frame="-5"'), "box 4 of track 3 is in frame -5; frames count from 0"),
    (CVAT.replace("<start_frame>0", "<start_frame>-1"), "start_frame is -1")])
def test_file_that_is_not_cvat_for_video_is_an_input_error_naming_it(tmp_path, text, says):
    with pytest.raises(InputError, match=says) as found:
        convert_cvat([write_cvat(tmp_path / "a.xml", text)], tmp_path / "b.json", videos=["a.mp4"])
    assert "a.xml" in str(found.value)


def test_cvat_task_longer_than_its_video_is_refused_by_both_names(tmp_path):
    pictures(tmp_path / "park", [f"{i}.png" for i in range(5)])
    with pytest.raises(InputError, match="a.xml goes to frame 5, counted from 0, but .*park has 5 frames"):
        convert_cvat([write_cvat(tmp_path / "a.xml")], tmp_path / "b.json", videos=[tmp_path / "park"])


def test_number_of_videos_and_annotation_files_must_agree(tmp_path):
    with pytest.raises(InputError, match="2 videos for 1 annotation files"):
        convert_cvat([write_cvat(tmp_path / "a.xml")], tmp_path / "b.json", videos=["a", "b"])


# ---- MOT


def write_mot(folder, rows, *, frames=3, info=True, first=1):
    pictures(folder / "img1", [f"{i:06d}.jpg" for i in range(first, first + frames)])
    (folder / "gt").mkdir()
    (folder / "gt" / "gt.txt").write_text("\n".join(rows) + "\n")
    if info:
        (folder / "seqinfo.ini").write_text(
            f"[Sequence]\nname=x\nimDir=img1\nframeRate=30\nseqLength={frames}\nimWidth=64\nimHeight=48\nimExt=.jpg\n")
    return folder


MOT_ROWS = ["1,7,1,1,10,20,1,1,0.9", "1,8,31,11,8,9,0,1,1", "2, 7, 3.5, 2, 10, 20, 1, 1, 0.5", "2,9,5,5,6,6,1,3,1",
            "4,7,1,1,5,5,1,1,1", ""]


def test_mot_frames_and_pixels_count_from_one_and_unconsidered_rows_are_dropped(tmp_path):
    folder = write_mot(tmp_path / "set" / "MOT17-02", MOT_ROWS)
    plain = convert_mot([folder], tmp_path / "set" / "train.json")
    assert boxes(plain.content()) == {
        ("MOT17-02/img1", 0): [("pedestrian", [0, 0, 10, 20], 7, set())],
        ("MOT17-02/img1", 1): [("pedestrian", [2.5, 1, 10, 20], 7, set())], ("MOT17-02/img1", 2): []}
    assert plain.dropped == {"boxes whose consider flag is 0": 1, "boxes of class 'car'": 1,
                             "boxes in frames that have no picture": 1}
    assert plain.content()["videos"] == [
        {"id": 1, "file_name": "MOT17-02/img1", "width": 64, "height": 48, "length": 3}]
    both = convert_mot([folder], tmp_path / "set" / "train.json", classes=["car", "pedestrian"], origin=0).content()
    assert boxes(both)["MOT17-02/img1", 1] == [
        ("pedestrian", [3.5, 2, 10, 20], 7, set()), ("car", [5, 5, 6, 6], 9, set())]


def test_mot15_columns_after_the_flag_are_no_class(tmp_path):
    folder = write_mot(tmp_path / "PETS", ["1,2,3,4,5,6,1,-4.2,7.1,0", "2,-1,3,4,5,6,1,-1,-1,-1"], info=False)
    found = boxes(convert_mot([folder], tmp_path / "train.json").content())
    assert [row for rows in found.values() for row in rows] == [
        ("pedestrian", [2, 3, 5, 6], 2, set()), ("pedestrian", [2, 3, 5, 6], None, set())]


def test_mot_labels_file_names_the_classes(tmp_path):
    folder = write_mot(tmp_path / "a", ["1,1,3,4,5,6,1,2,1"])
    (folder / "gt" / "labels.txt").write_text("cat\ndog\n")
    content = convert_mot([folder], tmp_path / "train.json").content()
    assert boxes(content)["a/img1", 0] == [("dog", [2, 3, 5, 6], 1, set())]
    assert [row["name"] for row in content["categories"]] == ["cat", "dog"]


def test_mot_pictures_that_start_at_another_number_keep_their_boxes(tmp_path):
    folder = write_mot(tmp_path / "a", ["5,1,1,1,5,6,1,1,1"], first=4)
    assert {frame for (_, frame), found in boxes(convert_mot([folder], tmp_path / "t.json").content()).items()
            if found} == {1}


def test_mot_with_a_video_file_takes_the_length_that_is_stated_or_annotated(tmp_path):
    folder = write_mot(tmp_path / "a", ["2,1,1,1,5,6,1,1,1"])
    content = convert_mot([folder], tmp_path / "t.json", video=tmp_path / "a.mp4").content()
    assert sorted(boxes(content)) == [("a.mp4", 0), ("a.mp4", 1), ("a.mp4", 2)]
    (folder / "seqinfo.ini").unlink()
    content = convert_mot([folder], tmp_path / "t.json", video=tmp_path / "a.mp4").content()
    assert sorted(boxes(content)) == [("a.mp4", 0), ("a.mp4", 1)]


@pytest.mark.parametrize("row, says", [
    ("1,2,3", "gt.txt:2: '1,2,3'"), ("1,2,x,4,5,6,1,1,1", "gt.txt:2"), ("1,2,3,4,5,6,1,14,1", "gt.txt:2: class 14"),
    ("1.7,2,3,4,5,6,1,1,1", "gt.txt:2: frame 1.7; expected a whole"), ("1,nan,3,4,5,6,1,1,1", "track nan; expected a"),
    ("1,2,3,4,5,6,1,1.5,1", "gt.txt:2: class 1.5; expected a whole"),
    ("1.0,1,30,1,5,6,1,1,1", r"gt.txt:2: track 1 has a box in frame 1 already \(.*gt.txt:1\)")])
def test_bad_mot_row_is_named(tmp_path, row, says):
    folder = write_mot(tmp_path / "a", ["1,1,1,1,5,6,1,1,1", row])
    with pytest.raises(InputError, match=says):
        convert_mot([folder], tmp_path / "t.json")


def test_mot_confidence_in_place_of_the_consider_flag_is_not_cut_to_zero(tmp_path):
    rows = ["1,1,1,1,5,6,0.98,1,1", "1,2,1,1,5,6,0,1,1", "1,3,1,1,5,6,-1,1,1", "1,4,1,1,5,6,nan,1,1"]
    plain = convert_mot([write_mot(tmp_path / "a", rows)], tmp_path / "t.json")
    assert [row["track_id"] for row in plain.content()["annotations"]] == [1]
    assert plain.dropped == {"boxes whose consider flag is 0": 3}


def test_mot_rows_without_a_track_or_not_considered_are_no_duplicates(tmp_path):
    rows = ["1,-1,1,1,5,6,1,1,1", "1,-1,9,1,5,6,1,1,1", "1,4,1,1,5,6,0,1,1", "1,4,1,1,5,6,1,1,1", "2,4,1,1,5,6,1,1,1"]
    content = convert_mot([write_mot(tmp_path / "a", rows)], tmp_path / "t.json").content()
    assert [row.get("track_id") for row in content["annotations"]] == [None, None, 4, 4]


def test_missing_parts_of_a_mot_sequence_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="sequence folder not found"):
        convert_mot([tmp_path / "none"], tmp_path / "t.json")
    folder = write_mot(tmp_path / "a", ["1,1,1,1,5,6,1,1,1"], info=False)
    with pytest.raises(InputError, match="one video file for 2 sequences"):
        convert_mot([folder, folder], tmp_path / "t.json", video="a.mp4")
    (folder / "seqinfo.ini").write_text("[Sequence]\nseqLength=many\n")
    with pytest.raises(InputError, match="seqinfo.ini.*many"):
        convert_mot([folder], tmp_path / "t.json")
    (folder / "seqinfo.ini").unlink()
    (folder / "img1").rename(folder / "pictures")
    with pytest.raises(InputError, match="neither pictures in img1/ nor seqLength"):
        convert_mot([folder], tmp_path / "t.json")
    (folder / "gt" / "gt.txt").unlink()
    with pytest.raises(FileNotFoundError, match="gt.txt; .*test sequences"):
        convert_mot([folder], tmp_path / "t.json")


def test_mot_script_runs_as_a_user_types_it(tmp_path):
    for name in ("one", "two"):
        write_mot(tmp_path / "MOT" / "train" / name, MOT_ROWS)
    ended = subprocess.run(
        [sys.executable, str(ROOT / "datasets" / "prepare_mot.py"), "MOT/train/one", "MOT/train/two", "--output",
         "MOT/train.json"], capture_output=True, text=True, cwd=tmp_path, timeout=120,
        env={**os.environ, "DETECTRON2_DATASETS": str(tmp_path), "PYTHONPATH": str(ROOT)})
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[1:] == [
        "dropped: 2 boxes whose consider flag is 0; 2 boxes of class 'car'; 2 boxes in frames that have no picture",
        "next: python datasets/check.py MOT/train"]
    result = check(PlainSet(tmp_path / "MOT" / "train.json", name="MOT/train"), sample=None)
    assert result.findings.count() == 0 and result.counts.boxes == {"pedestrian": 4}


# ---- CocoVID


def cocovid(folder, lengths=(3, 2), first_id=0):
    """A CocoVID content and its pictures under folder; frame_id counts from first_id."""
    content = {"categories": [{"id": 4, "name": "dog"}, {"id": 2, "name": "cat"}], "videos": [], "images": [],
               "annotations": []}
    for video, length in enumerate(lengths, 1):
        pictures(folder / f"train/v{video}", [f"{i:06d}.JPEG" for i in range(length)])
        content["videos"].append({"id": video, "name": f"train/v{video}"})
        content["images"] += [{"id": 100 * video + i, "video_id": video, "frame_id": i + first_id, "width": 64,
                               "height": 48, "file_name": f"train/v{video}/{i:06d}.JPEG"} for i in range(length)]
        content["annotations"].append({"id": video, "image_id": 100 * video + 1, "category_id": 4, "instance_id": 60,
                                       "bbox": [1, 2, 30.5, 4], "occluded": True, "generated": 0, "iscrowd": 0})
    return content


def convert(tmp_path, content, **options):
    (tmp_path / "in.json").write_text(json.dumps(content))
    return convert_cocovid(tmp_path / "in.json", tmp_path / "out.json", pictures=tmp_path / "Data", **options)


def test_cocovid_frames_boxes_and_instances_are_kept(tmp_path):
    plain = convert(tmp_path, cocovid(tmp_path / "Data"))
    dog = [("dog", [1, 2, 30.5, 4], 60, {"occluded"})]
    assert boxes(plain.content()) == {
        ("Data/train/v1", 0): [], ("Data/train/v1", 1): dog, ("Data/train/v1", 2): [],
        ("Data/train/v2", 0): [], ("Data/train/v2", 1): dog}
    assert plain.content()["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    assert not plain.notes and not +plain.dropped


def test_cocovid_frame_numbers_that_are_not_positions_are_corrected_with_a_note(tmp_path):
    right = boxes(convert(tmp_path, cocovid(tmp_path / "Data")).content())
    content = json.loads((tmp_path / "in.json").read_text())
    for image in content["images"]:
        image["frame_id"] += 1
    plain = convert(tmp_path, content)
    assert boxes(plain.content()) == right
    (note,) = plain.notes
    assert "frame_id - position: +1 (5 frames)" in note


def test_cocovid_frames_that_are_missing_twice_or_without_a_video_are_dropped_and_counted(tmp_path):
    content = cocovid(tmp_path / "Data")
    (tmp_path / "Data/train/v1/000002.JPEG").unlink()
    content["images"].append({**content["images"][0], "id": 7})
    content["images"].append({"id": 8, "file_name": "DET/x.JPEG", "frame_id": 0, "video_id": -1})
    plain = convert(tmp_path, content)
    assert +plain.dropped == {"frames that have no picture": 1, "frames that are listed twice": 1,
                              "pictures that belong to no video": 1}
    assert len(plain.content()["images"]) == 4


@pytest.mark.parametrize("shift", [0, 1])
def test_cocovid_key_frames_shifted_by_one_are_noticed(tmp_path, shift):
    """The published list counts from 0; a conversion that takes it for 1-based flags the frames before."""
    lengths = (17, 5, 40)
    content = cocovid(tmp_path / "Data", lengths)
    flagged = {video: [i - shift for i in fifteen_frames(length)] for video, length in enumerate(lengths, 1)}
    for image in content["images"]:
        image["is_vid_train_frame"] = image["frame_id"] in flagged[image["video_id"]]
    plain = convert(tmp_path, content, key_frames="flagged")
    assert len(plain.content()["images"]) == sum(i >= 0 for frames in flagged.values() for i in frames)
    assert len(plain.notes) == shift
    if shift:
        assert "in 3 of 3 videos each the one before" in plain.notes[0] and "(2 frames lost)" in plain.notes[0]
        assert "--key-frames published" in plain.notes[0]
    published = convert(tmp_path, content, key_frames="published").content()["images"]
    assert [(row["video_id"], row["frame_index"]) for row in published] == [
        (video, i) for video, length in enumerate(lengths, 1) for i in fifteen_frames(length)]


@pytest.mark.parametrize("change, says", [
    (lambda c: c.pop("videos"), "no list 'videos'"),
    (lambda c: c["images"][1].pop("frame_id"), "images.1. has no frame_id"),
    (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "annotations.0..bbox is .1, 2, 3."),
    (lambda c: c["annotations"][1].update(category_id=9), "annotations.1. is of .*category 9"),
    (lambda c: c["images"][0].update(video_id=9), "images.0..video_id is 9"),
    (lambda c: c["images"][0].update(file_name="x/0.JPEG"), "in 2 folders")])
def test_bad_cocovid_is_an_input_error_with_its_place(tmp_path, change, says):
    content = cocovid(tmp_path / "Data")
    change(content)
    with pytest.raises(InputError, match=says):
        convert(tmp_path, content)


def test_cocovid_script_writes_a_set_that_loads(run, tmp_path, capsys):
    (tmp_path / "in.json").write_text("\ufeff" + json.dumps(cocovid(tmp_path / "set" / "Data")))
    output = tmp_path / "set" / "train.json"
    options = "--pictures", tmp_path / "set" / "Data", "--output", output
    assert run("prepare_cocovid", tmp_path / "in.json", *options) == 0
    assert "next: python datasets/check.py set/train" in capsys.readouterr().out
    dicts, _ = load_video_json(output, video_index=VideoIndex())
    assert [(d["video_id"], d["frame_index"]) for d in dicts if d["annotations"]] == [
        ("set/Data/train/v1", 1), ("set/Data/train/v2", 1)]
    assert run("prepare_cocovid", tmp_path / "none.json", "--pictures", tmp_path, "--output", tmp_path / "x.json") == 2


# ---- ImageNet VID


def test_imagenet_vid_converted_loads_as_the_original(tiny_root, layout):
    layout.xml(tiny_root / "Annotations/VID/val/d/000001.xml",
               boxes=[(4, layout.CAR, -5, 2, 80, 47), (1, layout.DOG, 10, 10, 10, 20), (5, layout.DOG, 1, 2, 9, 9)])
    index, again = VideoIndex(), VideoIndex()
    original, metadata = load_imagenet_vid(tiny_root, ("VID_val_videos",), video_index=index)
    plain = convert_imagenet_vid(tiny_root, "VID_val_videos", tiny_root / "val.json")
    assert +plain.dropped == {"boxes that are empty, outside their picture or not finite": 1}
    write_video_json(tiny_root / "val.json", **plain.content())
    converted, new = load_video_json(tiny_root / "val.json", video_index=again, name="ILSVRC2015/val")
    assert new["thing_classes"] == metadata["thing_classes"]
    for old, now in zip(original, converted, strict=True):
        assert now["video_id"] == f"ILSVRC2015/Data/VID/{old['video_id']}"
        assert os.path.samefile(now["file_name"], old["file_name"])
        assert now["annotations"] == old["annotations"]
        for key in ("image_id", "width", "height", "frame_index", "video_length"):
            assert now[key] == old[key], key
    for video in index:
        assert again.paths(f"ILSVRC2015/Data/VID/{video}") == index.paths(video)


def test_imagenet_vid_frames_without_a_picture_are_dropped_and_the_others_keep_their_boxes(tiny_root, layout):
    (tiny_root / "Data/VID/val/d/000001.JPEG").unlink()
    layout.xml(tiny_root / "Annotations/VID/val/d/000002.xml", boxes=[(0, layout.DOG, 1, 2, 9, 9)])
    plain = convert_imagenet_vid(tiny_root, "VID_val_videos", tiny_root / "val.json", classes=["dog"])
    assert +plain.dropped == {"frames that have no picture": 1, "boxes of class 'car'": 6}
    found = boxes(plain.content())
    assert found["Data/VID/val/d", 1] == [("dog", [1, 2, 8, 7], 0, {"generated"})]  # 000002.JPEG is the second now
    assert ("Data/VID/val/d", 2) not in found


def test_imagenet_vid_script(run, tiny_root, capsys):
    output = tiny_root / "val.json"
    assert run("prepare_imagenet_vid", tiny_root, "--list", "VID_val_videos", "--output", output) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"wrote {output}: 2 videos, 8 labelled frames, 8 boxes, 30 classes", "dropped: nothing",
        "next: python datasets/check.py ILSVRC2015/val"]
    assert run("prepare_imagenet_vid", tiny_root, "--list", "none", "--output", tiny_root / "x.json") == 2
    assert "list file not found" in capsys.readouterr().err
