"""Detections written as a COCO results file and read again; files of other programs; files that cannot be used."""

import contextlib
import io
import json
import math

import numpy as np
import pytest
from detectron2.data import Metadata
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from stpn.errors import InputError
from stpn.evaluation import results_file
from stpn.evaluation.coco_ap import coco_ap, coco_summary
from stpn.evaluation.results_file import class_numbers, read_detections, write_detections
from stpn.evaluation.tables import Detections
from stpn.evaluation.truth import LabelledFrames, load_truth

CLASSES = {0: 0, 1: 1, 2: 2}


def frames_of(count):
    return LabelledFrames(np.arange(count) * 3 + 1, [f"val/{i // 4}" for i in range(count)], np.arange(count) % 4)


def bits(detections):
    return [(column.dtype, column.tobytes()) for column in vars(detections).values()]


float32 = st.floats(0, 4000, width=32)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), count=st.integers(0, 12), batch=st.integers(1, 5))
def test_what_is_written_reads_back_bit_by_bit_in_any_order_of_records(tmp_path_factory, data, count, batch):
    path, frames = tmp_path_factory.mktemp("results") / "results.json", frames_of(6)
    corners = data.draw(arrays(np.float32, (count, 2, 2), elements=float32))
    labels = data.draw(arrays(np.int64, (count, 2), elements=st.integers(0, 2)))
    score = data.draw(arrays(np.float32, count, elements=st.floats(0, 1, width=32), unique=True))
    before = Detections(labels[:, 0] * 2, labels[:, 1], np.sort(corners, axis=1).reshape(-1, 4), score)
    before = before.take(before.order())
    write_detections(path, before, frames)
    records = json.loads(path.read_text())
    assert len(records) == count
    path.write_text(json.dumps(data.draw(st.permutations(records))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results_file, "BATCH", batch)
        assert bits(read_detections(path, frames, classes=CLASSES)) == bits(before)


def good(n, **change):
    """Record n of 7, all different; those with even numbers carry our optional fields."""
    frames = frames_of(7)
    record = {"image_id": int(frames.image_id[n]), "category_id": n % 3, "bbox": [n, 1.5, 20, 30], "score": 0.5}
    if n % 2 == 0:
        record |= {"video_id": frames.video_id[n], "frame_index": int(frames.frame_index[n])}
    return {**record, **change}


def read(tmp_path, records, batch=3):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(records))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results_file, "BATCH", batch)
        return read_detections(path, frames_of(7), classes=CLASSES)


BAD = {
    "image id of no frame": ({"image_id": 5}, "image_id 5 is unknown: the dataset has no such labelled frame"),
    "image id as text": ({"image_id": "1"}, "image_id is '1'; expected a whole number"),
    "image id as float": ({"image_id": 13.0}, "image_id is 13.0; expected a whole number"),
    "image id true": ({"image_id": True}, "image_id is True; expected a whole number"),
    "image id null": ({"image_id": None}, "image_id is None"),
    "image id beyond 64 bits": ({"image_id": 10**30}, "image_id 1000000000000000000000000000000 is unknown"),
    "category too high": ({"category_id": 3}, "category_id 3 is unknown: the ids are 0..2"),
    "category negative": ({"category_id": -1}, "category_id -1 is unknown"),
    "category a list": ({"category_id": [1]}, r"category_id is \[1\]; expected a whole number"),
    "score NaN": ({"score": math.nan}, "score is nan; expected a finite number"),
    "score infinite": ({"score": math.inf}, "score is inf"),
    "score text": ({"score": "0.5"}, "score is '0.5'"),
    "score beyond float32": ({"score": 1e39}, r"score is 1e\+39"),
    "box NaN": ({"bbox": [1, 2, math.nan, 4]}, r"bbox is \[1, 2, nan, 4\]; expected 4 finite numbers \[x, y, w, h\]"),
    "box of 5": ({"bbox": [1, 2, 3, 4, 5]}, "bbox is .*; expected 4 finite numbers"),
    "box with text": ({"bbox": [1, 2, 3, "4"]}, "bbox is .*; expected 4 finite numbers"),
    "box an object": ({"bbox": {"x": 1}}, "bbox is {'x': 1}"),
    "box beyond float": ({"bbox": [10**400, 2, 3, 4]}, "bbox is .1000.*; expected 4 finite numbers"),
    "box of negative width": ({"bbox": [9, 9, -5, 5]}, r"bbox is \[9, 9, -5, 5\], its width or height is negative"),
    "box of negative height": ({"bbox": [9, 9, 5, -0.5]}, "bbox is .*, its width or height is negative; expected"),
    "box true": ({"bbox": [True, 2, 3, 4]}, "bbox is"),
    "another video": ({"video_id": "val/z"}, "is of val/z frame 0, but its image id is val/1 frame 0"),
    "another frame": ({"frame_index": 3}, "is of val/1 frame 3, but its image id is val/1 frame 0"),
    "frame index a list": ({"frame_index": []}, "is of val/1 frame"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_record_that_cannot_be_used_is_named(name, tmp_path):
    change, words = BAD[name]
    records = [good(n) for n in range(7)]
    assert len(read(tmp_path, records)) == 7
    records[4] = good(4, **change)
    with pytest.raises(InputError, match=rf"results.json: record 4: {words}") as error:
        read(tmp_path, records)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize("junk, words", [
    ([1, 2], r"got \[1, 2\]; expected an object"), ("text", "got 'text'"), (None, "got None"), (3, "got 3"),
    ({"image_id": 1, "category_id": 0, "bbox": [1, 2, 3, 4]}, "has no score; expected image_id, category_id"),
    ({}, "has no image_id; expected image_id, category_id, bbox and score$"),
    ({"video_id": 1, "category_id": 0, "segmentations": [None], "score": 0.5},
     "has no image_id; expected .*; this is a file of masks: name a data set of that kind$"),
])  # fmt: skip
def test_an_item_that_is_no_record_is_named(junk, words, tmp_path):
    with pytest.raises(InputError, match=f"record 5: {words}"):
        read(tmp_path, [*(good(n) for n in range(5)), junk, good(6)])


JUNK = st.sampled_from([None, True, -1, 0, 1, 2.0, 0.5, 1e300, 10**400, math.nan, "1", [], [1], {}, {"a": 1}])


@settings(max_examples=150, deadline=None)
@given(field=st.sampled_from([*results_file.FIELDS, "video_id", "frame_index"]), junk=JUNK, place=st.integers(0, 3))
def test_whatever_stands_in_a_field_is_used_or_refused_with_its_record(tmp_path_factory, field, junk, place):
    """The arrays of a whole batch and the look at one record must agree on what is wrong."""
    records = [good(n) for n in range(7)]
    if field == "bbox" and place < 3:
        records[4]["bbox"][place] = junk
    else:
        records[4][field] = junk
    try:
        assert len(read(tmp_path_factory.mktemp("junk"), records)) == 7
    except InputError as error:
        assert ": record 4: " in str(error)


def test_the_first_bad_record_is_the_one_that_is_named(tmp_path):
    records = [good(n, score=math.nan) if n in (4, 5) else good(n) for n in range(7)]
    with pytest.raises(InputError, match="record 4: score is nan"):
        read(tmp_path, records)


def test_a_result_written_twice_is_named_with_both_records(tmp_path):
    records = [good(n) for n in range(7)]
    with pytest.raises(InputError, match=r"record 6 repeats record 2: .* val/0 frame 2 .*\(3 repeats in all\)"):
        read(tmp_path, [*records[:6], records[2], records[1], records[2]])
    # Two boxes that share all but one number are two detections.
    near = [good(2, score=0.4), good(2, category_id=1), good(2, bbox=[2, 1, 20, 30])]
    assert len(read(tmp_path, [*records, *near])) == 10


def test_category_ids_mean_what_the_user_says():
    metadata = Metadata(name="some_set", thing_dataset_id_to_contiguous_id={7: 1, 3: 0, 90: 2})
    assert class_numbers("contiguous", metadata, num_classes=3) == {0: 0, 1: 1, 2: 2}
    assert class_numbers("one-based", metadata, num_classes=3) == {1: 0, 2: 1, 3: 2}
    assert class_numbers("original", metadata, num_classes=3) == {7: 1, 3: 0, 90: 2}
    with pytest.raises(InputError, match="original: other has no category ids of its own"):
        class_numbers("original", Metadata(name="other"), num_classes=3)
    with pytest.raises(InputError, match="expected one of contiguous, original, one-based"):
        class_numbers("coco", metadata, num_classes=3)


def test_results_of_another_program_score_as_in_pycocotools(random_set, as_videos, tmp_path):
    """Plain COCO fields, float64 with all its digits, category ids from 1, frames in any order."""
    detections, truth = random_set(3, classes=3)
    dicts, _, _ = as_videos(detections, truth, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    xywh = np.concatenate([detections.box[:, :2], detections.box[:, 2:] - detections.box[:, :2]], 1).astype(float)
    xywh += rng.uniform(-1e-3, 1e-3, xywh.shape)
    records = [
        {"image_id": int(detections.frame[n]) + 1, "category_id": int(detections.label[n]) + 1,
         "bbox": xywh[n].tolist(), "score": float(detections.score[n]), "segmentation": {"counts": "a}]"}}
        for n in rng.permutation(len(detections))
    ]  # fmt: skip
    path = tmp_path / "results.json"
    path.write_text(json.dumps(records))
    frames, truth = load_truth(dicts, num_classes=3)
    found = read_detections(path, frames, classes={1: 0, 2: 1, 3: 2})
    ours = coco_summary(coco_ap(found, truth, num_classes=3))
    np.testing.assert_allclose(np.array(list(ours.values())) / 100, pycocotools_figures(dicts, records), atol=1e-9)


def pycocotools_figures(dicts, records):
    annotations = [
        {"id": n + 1, "image_id": d["image_id"], "category_id": a["category_id"] + 1, "iscrowd": 0,
         "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
        for n, (d, a) in enumerate((d, a) for d in dicts for a in d["annotations"]) for x1, y1, x2, y2 in [a["bbox"]]
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": [{"id": d["image_id"]} for d in dicts], "annotations": annotations,
                        "categories": [{"id": c} for c in (1, 2, 3)]}  # fmt: skip
        coco.createIndex()
        results = coco.loadRes([{k: v for k, v in r.items() if k != "segmentation"} for r in records])
        evaluation = COCOeval(coco, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:6]
