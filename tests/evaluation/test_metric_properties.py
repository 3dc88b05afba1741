"""What must hold for every set of boxes, for COCO AP and both conventions of AP50 by motion.

Equal scores: all three metrics take detections of equal score one after the other, so their order counts. The
evaluator orders a frame's by their values, and frames by image id. Hence with ties nothing depends on the order in
which detections, frames or processes arrive, but renumbering the images may change a figure; without ties it may not.
"""

from dataclasses import replace

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from hypothesis import given, settings
from hypothesis import strategies as st

from stpn.evaluation import ImageNetVIDEvaluator
from stpn.evaluation.coco_ap import coco_ap
from stpn.evaluation.records import merge, record_video
from stpn.evaluation.tables import Detections, GroundTruth
from stpn.evaluation.truth import load_truth
from stpn.evaluation.vid_ap import vid_ap

CLASSES = 3
METRICS = {
    "coco": lambda dets, truth: {"coco": coco_ap(dets, truth, num_classes=CLASSES)},
    "mega": lambda dets, truth: vid_ap(dets, truth, num_classes=CLASSES, convention="mega"),
    "fgfa": lambda dets, truth: vid_ap(dets, truth, num_classes=CLASSES, convention="fgfa"),
}
metric = pytest.mark.parametrize("metric", METRICS)
seeds = st.integers(0, 10**9)


def few(examples):
    return settings(max_examples=examples, deadline=None)


def shuffled(table, rng):
    return table.take(rng.permutation(len(table)))


@metric
@few(20)
@given(seed=seeds, frames=st.integers(1, 10))
def test_rows_frames_and_classes_may_be_permuted_where_scores_differ(metric, random_set, seed, frames):
    detections, truth = random_set(seed, frames=frames)
    rng = np.random.default_rng(seed)
    frame, label = rng.permutation(frames), rng.permutation(CLASSES)
    moved = [
        shuffled(replace(table, frame=frame[table.frame], label=label[table.label]), rng)
        for table in (detections, truth)
    ]
    before, after = METRICS[metric](detections, truth), METRICS[metric](*moved)
    for name in before:
        np.testing.assert_allclose(after[name][..., label], before[name], atol=1e-12)


@metric
@few(15)
@given(seed=seeds, tied=st.booleans())
def test_order_of_arrival_does_not_matter_even_where_scores_are_tied(metric, random_set, as_videos, seed, tied):
    detections, truth = random_set(seed, integer=tied)
    results = []
    for order in range(2):  # two cuts into videos, each shuffled in its own way
        dicts, pairs, _ = as_videos(detections, truth, np.random.default_rng((seed, order)))
        frames, _ = load_truth(dicts, num_classes=CLASSES)
        records = [record_video(*pair, index=i, num_classes=CLASSES) for i, pair in enumerate(pairs)]
        results.append(METRICS[metric](merge(records, frames), truth))
    for name in results[0]:
        np.testing.assert_array_equal(results[0][name], results[1][name])


def figures(dicts, pairs, classes, convention):
    """ImageNetVIDEvaluator on a data set that is registered for this one evaluation."""
    DatasetCatalog.register("stpn_test_renamed", lambda: dicts)
    MetadataCatalog.get("stpn_test_renamed").set(thing_classes=classes)
    try:
        evaluator = ImageNetVIDEvaluator("stpn_test_renamed", motion_convention=convention)
        evaluator.process(*zip(*pairs))
        return evaluator.evaluate()
    finally:
        DatasetCatalog.remove("stpn_test_renamed")
        MetadataCatalog.remove("stpn_test_renamed")


@pytest.mark.parametrize("convention", ["mega", "fgfa"])
@few(8)
@given(seed=seeds)
def test_videos_and_image_ids_and_tracks_and_classes_may_be_renamed(convention, random_set, as_videos, seed):
    """Through the whole evaluator, motion from the tracks; the figure of a class goes with its name."""
    rng = np.random.default_rng(seed)
    dicts, pairs, _ = as_videos(*random_set(seed, frames=8), rng)
    for d in dicts:
        for number, annotation in enumerate(d["annotations"]):
            annotation["track_id"] = number
    before = figures(dicts, pairs, ["dog", "cat", "cow"], convention)
    label, image_id = rng.permutation(CLASSES), rng.permutation(100)
    names = dict(zip(sorted({d["video_id"] for d in dicts}), rng.permutation(100).tolist()))
    for d in dicts:
        d["image_id"], d["video_id"] = int(image_id[d["image_id"]]), f"val/{names[d['video_id']]}"
        for annotation in d["annotations"]:
            annotation["category_id"] = int(label[annotation["category_id"]])
            annotation["track_id"] += 7
        d["annotations"] = [d["annotations"][i] for i in rng.permutation(len(d["annotations"]))]
    for sample, output in pairs:
        sample["video_id"] = f"val/{names[sample['video_id']]}"
        sample["image_ids"] = [int(image_id[i]) for i in sample["image_ids"]]
        for found in output:
            found.pred_classes = found.pred_classes.new_tensor(label)[found.pred_classes]
    classes = np.array(["dog", "cat", "cow"])[np.argsort(label)].tolist()
    after = figures([dicts[i] for i in rng.permutation(len(dicts))], pairs[::-1], classes, convention)
    for task in before:
        assert set(before[task]) == set(after[task])
        for name, value in before[task].items():
            assert after[task][name] == pytest.approx(value, abs=1e-9, nan_ok=True), (task, name)


@metric
@few(20)
@given(seed=seeds, tied=st.booleans(), data=st.data())
def test_a_rising_map_of_the_scores_changes_nothing(metric, random_set, seed, tied, data):
    """Ties included: equal scores stay equal."""
    detections, truth = random_set(seed, integer=tied)
    values, rank = np.unique(detections.score, return_inverse=True)
    steps = data.draw(st.lists(st.floats(1e-6, 1e6), min_size=len(values), max_size=len(values)))
    start = data.draw(st.floats(-1e6, 1e6))
    mapped = replace(detections, score=(start + np.cumsum(steps))[rank])
    before, after = METRICS[metric](detections, truth), METRICS[metric](mapped, truth)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])


def apart(seed, tied):
    """A set whose boxes of a frame do not touch: 30 to 40 pixels in a grid of 60. No detection reaches half an IoU with
    two of them. (Above 24 pixels FGFA's threshold is 0.5 as well.)"""
    rng = np.random.default_rng(seed)
    cells = np.array([(f, x, y) for f in range(6) for x in range(3) for y in range(3) if rng.random() < 0.3])
    cells = cells.reshape(-1, 3)
    xy = 60 * cells[:, 1:] + rng.uniform(0, 10, (len(cells), 2))
    box = np.concatenate([xy, xy + rng.uniform(30, 40, xy.shape)], axis=1)
    label = rng.integers(0, CLASSES, len(cells))
    truth = GroundTruth(cells[:, 0], label, box, 6, rng.uniform(0.3, 1, len(cells)))
    near = rng.integers(0, max(1, len(truth)), 30 if len(truth) else 0)
    noise = rng.normal(0, 5, (len(near), 4)) * (rng.random((len(near), 1)) < 0.7)
    wrong = np.where(rng.random(len(near)) < 0.2, rng.integers(0, CLASSES, len(near)), label[near])
    score = rng.random(len(near)).round(1 if tied else 9) + 1
    return Detections(truth.frame[near], wrong, box[near] + noise, score), truth


@metric
@few(25)
@given(seed=seeds, tied=st.booleans(), drop=st.floats(1e-6, 1))
def test_a_copy_of_each_detection_at_a_lower_score_raises_no_figure_where_boxes_are_apart(metric, seed, tied, drop):
    detections, truth = apart(seed, tied)
    lower = replace(detections, score=detections.score - drop)  # among the scores of others, or below all
    both = Detections(*(np.concatenate(pair) for pair in zip(vars(detections).values(), vars(lower).values())))
    before, after = METRICS[metric](detections, truth), METRICS[metric](both, truth)
    for name in before:
        np.testing.assert_array_equal(np.isnan(after[name]), np.isnan(before[name]))
        assert np.nan_to_num(after[name] - before[name]).max() <= 1e-12, name


def ap50(metric, detections, truth):
    """Of class 0, sizes and motions together."""
    ap = METRICS[metric](detections, truth)
    return ap["coco"][0, 0, 0] if metric == "coco" else ap["all"][0]


@metric
def test_in_a_crowd_a_copy_takes_the_neighbour_that_the_protocols_leave_free(metric):
    """The limit of the property above, and no fault of ours: two boxes overlap, one detection fits both."""
    box = np.array([[0.0, 0, 99, 99], [0, 0, 99, 89]])
    truth = GroundTruth(np.zeros(2, int), np.zeros(2, int), box, 1, np.ones(2))
    once = Detections(np.zeros(1, int), np.zeros(1, int), box[:1], np.array([0.9]))
    twice = Detections(np.zeros(2, int), np.zeros(2, int), box[[0, 0]], np.array([0.9, 0.8]))
    assert [ap50(metric, dets, truth) for dets in (once, twice)] == pytest.approx([0.5, 1], abs=0.01)


@metric
def test_equal_scores_of_two_frames_are_taken_in_the_order_of_image_ids(metric):
    """The limit of the first property: a hit and a stray of one score in two frames."""
    box = np.array([[0.0, 0, 50, 50], [200, 200, 250, 250]])
    zero = np.zeros(2, int)
    found = []
    for frame in ([0, 1], [1, 0]):
        truth = GroundTruth(np.array(frame[:1]), zero[:1], box[:1], 2, np.ones(1))
        detections = Detections(np.array(frame), zero, box, np.full(2, 0.5))
        found.append(ap50(metric, detections.take(detections.order()), truth))
    # COCO sorts stably, the first frame first; the originals of the other two reverse an ascending sort.
    assert found == pytest.approx([1.0, 0.5] if metric == "coco" else [0.5, 1.0])
