"""ImageNet-VID-style AP50: recorded outputs of both conventions, hand cases, and a slow rewrite of the
rules."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stpn.evaluation.tables import Detections, GroundTruth
from stpn.evaluation.vid_ap import MOTION_RANGES, vid_ap

CASES = [
    "case1_basic", "case2_empty_frames", "hand_border_iou", "hand_class_without_gt", "hand_no_gt_frame_fp",
    "hand_perfect",
]  # fmt: skip
LIMITS = {"all": (0.0, 1.0), **MOTION_RANGES}


def tables(frames):
    """Recorded frames -> Detections, GroundTruth."""

    def column(key, *shape):
        return np.concatenate(
            [np.array(frame[key], dtype=np.float64).reshape(-1, *shape) for frame in frames]
        )

    def number(key):
        return np.repeat(np.arange(len(frames)), [len(frame[key]) for frame in frames])

    return (
        Detections(number("pred_scores"), column("pred_labels").astype(int), column("pred_boxes", 4),
                   column("pred_scores")),
        GroundTruth(number("gt_labels"), column("gt_labels").astype(int), column("gt_boxes", 4), len(frames),
                    column("motion_iou")),
    )  # fmt: skip


def padded(values, undefined):
    """Recorded APs by class -> (31,) with NaN where undefined(value)."""
    result = np.full(31, np.nan)
    result[: len(values)] = [np.nan if undefined(v) else v for v in values]
    return result


def mean(ap):
    return np.nan if np.isnan(ap).all() else np.nanmean(ap)


@pytest.mark.parametrize("case", CASES)
def test_mega_equals_recorded_output(case, fixtures_dir):
    recorded = json.loads((fixtures_dir / "vod/vid_eval" / f"{case}.json").read_text())
    detections, truth = tables(recorded["frames"])
    ap = vid_ap(detections, truth, num_classes=31, convention="mega")
    for name in LIMITS:
        wanted = recorded["result"][name]
        by_class = padded(wanted["ap_by_class_index"], lambda v: v is None or np.isnan(v))
        np.testing.assert_allclose(ap[name], by_class, atol=1e-9, rtol=0)
        np.testing.assert_allclose(mean(ap[name]), wanted["map"], atol=1e-9, rtol=0)
    still = vid_ap(detections, replace(truth, motion=None), num_classes=31, convention="mega")
    np.testing.assert_allclose(mean(still["all"]), recorded["result"]["no_motion"]["map"], atol=1e-9, rtol=0)
    assert all(np.isnan(still[name]).all() for name in MOTION_RANGES)


@pytest.mark.parametrize("case", CASES)
def test_fgfa_equals_recorded_output(case, fixtures_dir):
    recorded = json.loads((fixtures_dir / "vod/vid_eval_fgfa" / f"{case}.json").read_text())["result"]
    inputs = json.loads((fixtures_dir / "vod/vid_eval" / f"{case}.json").read_text())
    ap = vid_ap(*tables(inputs["frames"]), num_classes=31, convention="fgfa")
    for name in LIMITS:
        by_class = padded([-1, *recorded[name]["ap_class_1_to_30"]], lambda v: v < 0)
        np.testing.assert_allclose(ap[name], by_class, atol=1e-9, rtol=0)
        wanted = np.nan if recorded[name]["map"] is None else recorded[name]["map"]
        np.testing.assert_allclose(mean(ap[name]), wanted, atol=1e-9, rtol=0)


def iou(a, b, extra):
    """One IoU of inclusive boxes with `extra` added to widths and heights."""
    w = min(a[2], b[2]) - max(a[0], b[0]) + extra
    h = min(a[3], b[3]) - max(a[1], b[1]) + extra
    inter = max(w, type(w)(0)) * max(h, type(h)(0))
    area = [(x[2] - x[0] + extra) * (x[3] - x[1] + extra) for x in (a, b)]
    return inter / (area[0] + area[1] - inter) if inter > 0 else inter


def plain_match(overlaps, used, ignored, limits, mega):
    """Which box one detection takes, box after box as the originals walk them; None if none."""
    best, chosen = -1.0, None
    for k, value in enumerate(overlaps):
        if used[k] or value < limits[k] or value < best:
            continue
        if value == best and (not mega or not ignored[chosen]):
            continue
        best, chosen = value, k
    return chosen


def plain_weight(overlaps, ignored, share):
    if not len(overlaps):
        return share
    inside = max((v for v, i in zip(overlaps, ignored, strict=True) if not i), default=-1)
    outside = max((v for v, i in zip(overlaps, ignored, strict=True) if i), default=-1)
    if inside == outside:
        return sum(ignored) / len(ignored)
    return 1.0 if inside > outside else 0.0


def plain_ap(detections, truth, label, limits, mega):
    """AP of one class by the published rules, in loops over frames, detections and boxes."""
    kind, extra = (np.float32, np.float32(2)) if mega else (np.float64, 1.0)
    table = [
        m
        for f in range(truth.num_frames)
        for m in (truth.motion[truth.frame == f] if f in truth.frame else [0])
    ]
    share = sum(limits[0] <= m <= limits[1] for m in table) / max(1, len(table))
    events, positives = [], 0
    for frame in range(truth.num_frames):
        here = [g for g in range(len(truth)) if truth.frame[g] == frame]
        own = [g for g in here if truth.label[g] == label]
        ignored = {g: not limits[0] <= truth.motion[g] <= limits[1] for g in here}
        positives += sum(not ignored[g] for g in own)
        rows = [
            n for n in range(len(detections)) if detections.frame[n] == frame and detections.label[n] == label
        ]
        used = [False] * len(own)
        for n in sorted(rows, key=lambda n: (-detections.score[n], -n)):
            box = detections.box[n].astype(kind)
            overlaps = {g: iou(box, truth.box[g].astype(kind), extra) for g in here}
            size = {g: (truth.box[g][2:] - truth.box[g][:2] + 1) for g in own}
            least = [0.5 if mega else min(0.5, np.prod(size[g]) / np.prod(size[g] + 10)) for g in own]
            k = plain_match([overlaps[g] for g in own], used, [ignored[g] for g in own], least, mega)
            group = own if mega else here
            if k is None:
                weight = plain_weight([overlaps[g] for g in group], [ignored[g] for g in group], share)
                events.append((detections.score[n], 0.0, weight))
            else:
                used[k] = True
                events.append((detections.score[n], float(not ignored[own[k]]), 0.0))
    return plain_area(events, positives)


def plain_area(events, positives):
    """Area under the precision envelope, one recall step after the other."""
    if not positives:
        return np.nan
    order = sorted(range(len(events)), key=lambda i: (-events[i][0], -i))
    events = [events[i] for i in order]
    precision, true, false = [], 0.0, 0.0
    for _, t, f in events:
        true, false = true + t, false + f
        precision.append(true / (true + false + np.finfo(float).eps))
    return sum(t / positives * max(precision[i:]) for i, (_, t, _) in enumerate(events))


@pytest.mark.parametrize("convention", ["mega", "fgfa"])
@pytest.mark.parametrize("seed", range(6))
def test_equals_plain_loops(seed, convention, random_set):
    detections, truth = random_set(seed, integer=seed % 2 == 0)
    ap = vid_ap(detections, truth, num_classes=3, convention=convention)
    for name, limits in LIMITS.items():
        plain = [plain_ap(detections, truth, c, limits, convention == "mega") for c in range(3)]
        np.testing.assert_allclose(ap[name], plain, atol=1e-12)


def one_box(box, *, motion=None):
    motion = None if motion is None else np.array([motion])
    return GroundTruth(np.array([0]), np.array([0]), np.array([box], dtype=float), 1, motion)


def found(box, *, frame=0, label=0, score=0.9):
    return Detections(np.array([frame]), np.array([label]), np.array([box], dtype=float), np.array([score]))


def test_half_a_box_counts_by_hand():
    """15 of 30 rows: inclusive IoU 15/30, MEGA's 16/31 (w = x2 - x1 + 2), both hits; 13 rows are too few."""
    for convention in ("mega", "fgfa"):
        truth = one_box([0, 0, 29, 29])
        assert vid_ap(found([0, 0, 29, 14]), truth, num_classes=1, convention=convention)["all"][0] > 0.99
        assert vid_ap(found([0, 0, 29, 12]), truth, num_classes=1, convention=convention)["all"][0] == 0


def test_small_boxes_have_a_lower_threshold_in_fgfa_only():
    """10 x 10: 100 / (20 * 20) = 0.25 suffices; the detection's inclusive IoU is 3/10."""
    truth = one_box([0, 0, 9, 9])
    assert vid_ap(found([0, 0, 9, 2]), truth, num_classes=1, convention="mega")["all"][0] == 0
    assert vid_ap(found([0, 0, 9, 2]), truth, num_classes=1, convention="fgfa")["all"][0] > 0.99


def test_detection_of_a_box_outside_the_range_is_no_false_positive():
    truth = GroundTruth(
        np.array([0, 1]),
        np.array([0, 0]),
        np.array([[0, 0, 30, 30]] * 2, dtype=float),
        2,
        np.array([0.95, 0.5]),
    )
    both = Detections(np.array([0, 1]), np.array([0, 0]), truth.box, np.array([0.5, 0.9]))
    for convention in ("mega", "fgfa"):
        ap = vid_ap(both, truth, num_classes=1, convention=convention)
        assert ap["slow"][0] == pytest.approx(1) and ap["fast"][0] == pytest.approx(1)
        assert np.isnan(ap["medium"][0])


@pytest.mark.parametrize("convention", ["mega", "fgfa"])
def test_perfect_predictions_score_one(convention, random_set):
    _, truth = random_set(3)
    perfect = Detections(truth.frame, truth.label, truth.box, np.linspace(0.1, 1, len(truth)))
    for name, ap in vid_ap(perfect, truth, num_classes=3, convention=convention).items():
        assert mean(ap) == pytest.approx(1), name


@pytest.mark.parametrize("convention", ["mega", "fgfa"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_order_of_frames_rows_and_classes_does_not_matter(convention, random_set, seed):
    detections, truth = random_set(seed)
    rng = np.random.default_rng(seed)
    frames, classes = rng.permutation(truth.num_frames), rng.permutation(3)

    def moved(table):
        table = table.take(rng.permutation(len(table)))
        return replace(table, frame=frames[table.frame], label=classes[table.label])

    before = vid_ap(detections, truth, num_classes=3, convention=convention)
    after = vid_ap(moved(detections), moved(truth), num_classes=3, convention=convention)
    for name in LIMITS:
        np.testing.assert_allclose(after[name][classes], before[name], atol=1e-12)


@pytest.mark.parametrize("convention", ["mega", "fgfa"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_only_the_order_of_scores_matters(convention, random_set, seed):
    detections, truth = random_set(seed)
    before = vid_ap(detections, truth, num_classes=3, convention=convention)
    after = vid_ap(
        replace(detections, score=detections.score**3 / 7), truth, num_classes=3, convention=convention
    )
    for name in LIMITS:
        np.testing.assert_array_equal(after[name], before[name])


@pytest.mark.parametrize("convention", ["mega", "fgfa"])
def test_duplicates_at_lower_score_do_not_raise_ap(convention, random_set):
    """One box per frame and class: in a crowd, both conventions let a duplicate take the neighbour."""
    for seed in range(10):
        detections, truth = random_set(seed)
        first = np.unique(truth.frame, return_index=True)[1]
        truth = truth.take(first)
        twice = Detections(
            *(np.concatenate([getattr(detections, k)] * 2) for k in ("frame", "label", "box")),
            np.concatenate([detections.score, detections.score / 100]),
        )
        before = vid_ap(detections, truth, num_classes=3, convention=convention)["all"]
        after = vid_ap(twice, truth, num_classes=3, convention=convention)["all"]
        assert np.nan_to_num(after - before).max() <= 1e-12


@pytest.mark.parametrize("convention", ["mega", "fgfa"])
def test_nothing_predicted_is_zero_and_nothing_to_find_is_undefined(convention, random_set):
    detections, truth = random_set(0)
    nothing = vid_ap(detections.take([]), truth, num_classes=3, convention=convention)
    assert np.nanmax(nothing["all"]) == 0
    for rows in (detections, detections.take([])):
        undefined = vid_ap(rows, truth.take([]), num_classes=3, convention=convention)
        assert all(np.isnan(ap).all() for ap in undefined.values())
