"""ImageNet-VID-style AP50: hand cases, and a slow rewrite of the rules. Recorded outputs: test_recorded_outputs.py."""

import numpy as np
import pytest

from stpn.evaluation.tables import Detections, GroundTruth
from stpn.evaluation.vid_ap import MOTION_RANGES, vid_ap

LIMITS = {"all": (0.0, 1.0), **MOTION_RANGES}


def mean(ap):
    return np.nan if np.isnan(ap).all() else np.nanmean(ap)


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
def test_nothing_predicted_is_zero_and_nothing_to_find_is_undefined(convention, random_set):
    detections, truth = random_set(0)
    nothing = vid_ap(detections.take([]), truth, num_classes=3, convention=convention)
    assert np.nanmax(nothing["all"]) == 0
    for rows in (detections, detections.take([])):
        undefined = vid_ap(rows, truth.take([]), num_classes=3, convention=convention)
        assert all(np.isnan(ap).all() for ap in undefined.values())
