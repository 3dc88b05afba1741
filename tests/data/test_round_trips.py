"""Row 90: whatever boxes, ids and classes are written, the same is read, for each annotation format."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_sets import pictures, write_file, write_folder

from stpn.data.datasets import annotation_cache, load_imagenet_vid
from stpn.data.datasets.annotation_cache import BoxTable
from stpn.data.datasets.video_json import inspect_video_json, load_video_json, read_content, write_video_json
from stpn.data.toy_layout import _FRAME, _OBJECT
from stpn.data.video import VideoIndex

WIDTH, HEIGHT = 64, 48
ID = st.integers(-(2**63), 2**63 - 1)


def spans(limit):
    """(start, length) inside 0..limit, at least a pixel long."""
    whole = st.floats(0, limit - 1).flatmap(lambda a: st.tuples(st.just(a), st.floats(1, limit - a)))
    return whole.filter(lambda span: span[0] + span[1] <= limit and span[0] + span[1] - span[0] >= 1)


BOX = st.tuples(spans(WIDTH), spans(HEIGHT)).map(lambda b: [b[0][0], b[1][0], b[0][1], b[1][1]])
OPTIONS = st.fixed_dictionaries({}, optional={"track_id": ID, "iscrowd": st.integers(0, 1),
                                              "occluded": st.integers(0, 1), "generated": st.integers(0, 1)})


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder with a.mkv (5 frames) and, with a name that needs escapes, a folder of 4 pictures."""
    root = tmp_path_factory.mktemp("videos")
    write_file(root / "a.mkv", pictures(5))
    write_folder(root / 'b "ü\n', pictures(4))
    return root, {"a.mkv": 5, 'b "ü\n': 4}


@st.composite
def contents(draw, lengths):
    unique = st.lists(ID, unique=True, min_size=1, max_size=4)
    name = st.text(min_size=1, max_size=8).filter(str.strip)
    names = draw(st.lists(name, min_size=1, max_size=4, unique=True))
    categories = [{"id": i, "name": n} for i, n in zip(draw(unique), names)]
    video_ids = draw(st.lists(ID, unique=True, min_size=len(lengths), max_size=len(lengths)))
    videos = [{"id": i, "file_name": n} for i, n in zip(video_ids, lengths)]
    frames = [(video["id"], i) for video in videos for i in range(lengths[video["file_name"]])]
    chosen = draw(st.lists(st.sampled_from(frames), unique=True, min_size=1))
    image_ids = draw(st.lists(ID, unique=True, min_size=len(chosen), max_size=len(chosen)))
    images = [{"id": k, "video_id": v, "frame_index": i} for k, (v, i) in zip(image_ids, chosen)]
    boxes = draw(st.lists(st.tuples(BOX, OPTIONS), max_size=6))
    ids = draw(st.lists(ID, unique=True, min_size=len(boxes), max_size=len(boxes)))
    annotations = [{"id": k, "image_id": draw(st.sampled_from(image_ids)), "bbox": box,
                    "category_id": draw(st.sampled_from(categories))["id"], **options}
                   for k, (box, options) in zip(ids, boxes)]  # fmt: skip
    return {"categories": categories, "videos": videos, "images": images, "annotations": annotations}


def said(what, dicts):
    """Boxes of dataset dicts in the JSON's terms, by image id."""
    ids = sorted(row["id"] for row in what["categories"])
    return {d["image_id"]: [(ids[a["category_id"]], a["bbox"], a["track_id"], a["iscrowd"], a["occluded"],
                             a["generated"]) for a in d["annotations"]] for d in dicts}  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_plain_format(videos, data):
    root, lengths = videos
    what = data.draw(contents(lengths))
    path = root / "s.json"
    write_video_json(path, **what)
    assert read_content(path) == (what, []) and inspect_video_json(path) == (what, [])
    index = VideoIndex()
    dicts, metadata = load_video_json(path, video_index=index, name="x/s")
    names = {row["id"]: row["name"] for row in what["categories"]}
    assert metadata["thing_classes"] == [names[i] for i in sorted(names)]
    expected = {row["id"]: [] for row in what["images"]}
    for row in what["annotations"]:
        x, y, w, h = row["bbox"]
        expected[row["image_id"]].append((row["category_id"], [x, y, x + w, y + h], row.get("track_id", -1),
                                          *(row.get(key, 0) for key in ("iscrowd", "occluded", "generated"))))
    assert said(what, dicts) == expected
    places = {row["id"]: f"x/{row['file_name']}" for row in what["videos"]}
    assert [(d["video_id"], d["frame_index"], d["image_id"]) for d in dicts] == [
        (places[row["video_id"]], row["frame_index"], row["id"]) for row in what["images"]]


CORNER = st.tuples(st.integers(0, WIDTH - 2), st.integers(0, HEIGHT - 2)).flatmap(
    lambda c: st.tuples(st.just(c[0]), st.just(c[1]), st.integers(c[0] + 1, WIDTH - 1),
                        st.integers(c[1] + 1, HEIGHT - 1)))
OBJECT = st.tuples(st.integers(0, 2**31), st.sampled_from(["n1", "n2", "n3"]), CORNER)


@settings(deadline=None, max_examples=40)
@given(frames=st.lists(st.lists(OBJECT, max_size=4), min_size=1, max_size=6), cut=st.integers(0, 5))
def test_xml_files_and_lists_and_their_cache(frames, cut):
    """Two videos; the second load reads the cache that the first one made."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        splits = {"val/a": frames[:cut], "val/b": frames[cut:]}
        lists = root / "ImageSets" / "VID"
        lists.mkdir(parents=True)
        lines, number = [], 1
        for video, of in splits.items():
            for part, suffix in (("Annotations", ".xml"), ("Data", ".JPEG")):
                (root / part / "VID" / video).mkdir(parents=True)
                for i, objects in enumerate(of):
                    text = "".join(_OBJECT.format(track=track, wnid=name, x1=box[0], y1=box[1], x2=box[2], y2=box[3])
                                   for track, name, box in objects)  # fmt: skip
                    text = _FRAME.format(folder=video, name=i, side=0, objects=text)
                    text = text.replace("<width>0</width><height>0", f"<width>{WIDTH}</width><height>{HEIGHT}")
                    (root / part / "VID" / video / f"{i:06d}{suffix}").write_text(text)
            lines += [f"{video} {number} 0 {len(of)}"] if of else []
            number += len(of)
        (lists / "l.txt").write_text("\n".join(lines))
        (root / "ImageSets" / "classes.json").write_text('{"n3": "c", "n1": "a", "n2": "b"}')
        loaded = [load_imagenet_vid(root, ("l",), video_index=VideoIndex()) for _ in range(2)]
        assert len(list((root / annotation_cache.FOLDER).iterdir())) == 1
    assert loaded[0] == loaded[1]
    dicts, metadata = loaded[0]
    assert metadata["thing_classes"] == ["c", "a", "b"] and [d["image_id"] for d in dicts] == list(range(1, number))
    assert [(d["video_id"], d["frame_index"]) for d in dicts] == [(v, i) for v in splits for i in range(len(splits[v]))]
    assert [[(a["track_id"], ["n3", "n1", "n2"][a["category_id"]], tuple(a["bbox"])) for a in d["annotations"]]
            for d in dicts] == frames[:cut] + frames[cut:]


FLOAT = st.floats(width=64, allow_nan=True)


@settings(deadline=None, max_examples=40)
@given(counts=st.lists(st.integers(0, 3), max_size=5), data=st.data())
def test_cache_of_annotations(counts, data):
    rows = sum(counts)
    boxes = data.draw(st.lists(st.lists(FLOAT, min_size=4, max_size=4), min_size=rows, max_size=rows))
    labels = data.draw(st.lists(st.lists(ID, min_size=4, max_size=4), min_size=rows, max_size=rows))
    sizes = data.draw(st.lists(st.lists(st.integers(1, 2**31 - 1), min_size=2, max_size=2), min_size=len(counts),
                               max_size=len(counts)))  # fmt: skip
    table = BoxTable(sizes=np.array(sizes, np.int32).reshape(-1, 2), counts=np.array(counts, np.int32),
                     boxes=np.array(boxes, np.float64).reshape(-1, 4), labels=np.array(labels, np.int64).reshape(-1, 4))
    with tempfile.TemporaryDirectory() as root:
        options = {"root": root, "name": "l", "list_text": "text", "paths": [], "classes": {"a": 0}}
        annotation_cache.load_or_parse(lambda: table, **options)
        read = annotation_cache.load_or_parse(lambda: pytest.fail("the cache was not read"), **options)
    for name, column in vars(table).items():
        again = getattr(read, name)
        assert column.dtype == again.dtype and np.array_equal(column, again, equal_nan=name == "boxes")
