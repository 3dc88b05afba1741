"""ImageNet-VID-style AP50 and its split by motion, in the two conventions in use.

`mega`: the protocol of MEGA's evaluation, which MAMBA and vfe report too. `fgfa`: that of FGFA's motion
evaluation. Their figures differ from each other by a point or so, and from COCO's AP50 as well: compare only
like with like. Both are held to recorded outputs (tests/evaluation/test_vid_ap.py).

In both, a detection takes a free box of its class and frame whose IoU is high enough, and AP is the whole
area under the precision envelope. Inside a motion range, a box with a motion IoU outside it is ignored: it is
no positive, and a detection that takes it is dropped. What a detection that takes nothing weighs as a false
positive:
    no box in its group:                the share of the motion table that lies inside the range
    it is nearer to a box of the range: 1;   nearer to an ignored box: 0 (higher IoU is nearer)
    equally near, mostly IoU 0 to all:  the share of ignored boxes in the group
The last share looks inverted (the more boxes are ignored, the heavier the false positive), but published
figures rest on it.

The originals sort equal scores by numpy's unstable sort; here the sort is stable, so that figures are the
same on every machine.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .tables import cells

# Both ends belong to a range (the originals compare with >= and <=).
MOTION_RANGES = {"slow": (0.9, 1.0), "medium": (0.7, 0.9), "fast": (0.0, 0.7)}


def inclusive_iou(a, b, *, extra=0):
    """a, b: (..., 4) XYXY, inclusive corners: w = x2 - x1 + 1 + extra -> (...) IoU in 0..1."""
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    inter = _product((high - low + 1 + extra).clip(min=0))
    area_a, area_b = (_product(box[..., 2:] - box[..., :2] + 1 + extra) for box in (a, b))
    # A detection with swapped corners may have no area at all: IoU 0, not NaN.
    return np.divide(inter, area_a + area_b - inter, out=np.zeros_like(inter), where=inter > 0)


def _product(size):
    return size[..., 0] * size[..., 1]  # several times faster than prod() over an axis of 2


@dataclass(frozen=True)
class Convention:
    """The points in which the two differ."""

    iou: Callable  # (..., 4), (..., 4) -> (...)
    threshold: Callable  # (M, 4) boxes -> (M,) least IoU to take each
    group_by_class: bool  # "group" in the weights above: the frame's boxes of the class, or all its boxes
    pick: Callable  # (k, m) IoU, -1 where a box does not fit; (k, m) ignored -> (k,) box to take


def vid_ap(detections, truth, *, num_classes, convention="mega"):
    """detections: Detections; truth: GroundTruth, split by motion when it has motion.
    -> {"all", "slow", "medium", "fast"}: (num_classes,) AP50 in 0..1, NaN for a class without positives
    (where FGFA writes -1). Without motion, all but "all" are NaN."""
    rule = CONVENTIONS[convention]
    detections = detections.take(_by_cell_best_first(detections, truth.num_frames))
    truth = truth.take(np.argsort(_cell(truth, truth.num_frames), kind="stable"))
    result = {"all": _ap_in_range(detections, truth, None, num_classes, rule)}
    for name, limits in MOTION_RANGES.items():
        undefined = np.full(num_classes, np.nan)
        known = truth.motion is not None
        result[name] = _ap_in_range(detections, truth, limits, num_classes, rule) if known else undefined
    return result


def _cell(table, num_frames):
    """One number for a class and a frame; it ascends by class, then by frame."""
    return table.label * num_frames + table.frame


def _by_cell_best_first(detections, num_frames):
    # Equal scores in reverse order of arrival: an ascending sort, reversed, as in the originals.
    return np.lexsort((-np.arange(len(detections)), -detections.score, _cell(detections, num_frames)))


def _ap_in_range(dets, gts, limits, num_classes, rule):
    """limits: (low, high) motion IoU, or None for everything -> (num_classes,) AP50."""
    ignored, share = _range_of(gts, limits)
    taken = _match(dets, gts, ignored, rule)
    miss_weight = _miss_weight(dets, gts, ignored, share, rule)
    ap = np.full(num_classes, np.nan)
    for label in np.unique(gts.label[~ignored]):
        rows = slice(*np.searchsorted(dets.label, [label, label + 1]))
        positives = np.count_nonzero(~ignored[gts.label == label])
        ap[label] = _area_under(dets.score[rows], taken[rows], miss_weight[rows], positives)
    return ap


def _range_of(gts, limits):
    """-> ignored (M,) bool, and the share of the motion table that lies inside the range.

    The table has one row per box and one placeholder of 0 per frame without boxes; published figures count
    both.
    """
    if limits is None:
        return np.zeros(len(gts), dtype=bool), 1.0
    ignored = (gts.motion < limits[0]) | (gts.motion > limits[1])
    empty = gts.num_frames - len(np.unique(gts.frame))
    inside = np.count_nonzero(~ignored) + (empty if limits[0] <= 0 else 0)
    return ignored, inside / max(1, len(gts) + empty)


def _match(dets, gts, ignored, rule):
    """-> (N,) int8: 1 took a box of the range, -1 took an ignored box, 0 took nothing."""
    taken = np.zeros(len(dets), dtype=np.int8)
    threshold = rule.threshold(gts.box)
    for gt_rows, rounds in cells(_cell(dets, gts.num_frames), _cell(gts, gts.num_frames)):
        free = np.ones(gt_rows.shape, dtype=bool)
        for k, rows in rounds:
            iou = rule.iou(dets.box[rows][:, None], gts.box[gt_rows[:k]])
            ignore = ignored[gt_rows[:k]]
            fits = free[:k] & (iou >= threshold[gt_rows[:k]])
            choice = rule.pick(np.where(fits, iou, -1.0), ignore)
            hit = np.flatnonzero(fits.any(axis=1))
            free[hit, choice[hit]] = False
            taken[rows[hit]] = np.where(ignore[hit, choice[hit]], -1, 1)
    return taken


def _miss_weight(dets, gts, ignored, share, rule):
    """-> (N,) what each detection would weigh as a false positive (the table at the head of this file)."""
    weight = np.full(len(dets), share)
    groups = [_cell(t, gts.num_frames) if rule.group_by_class else t.frame for t in (dets, gts)]
    det_order, gt_order = (np.argsort(group, kind="stable") for group in groups)
    for gt_places, rounds in cells(groups[0][det_order], groups[1][gt_order]):
        gt_rows = gt_order[gt_places]
        for k, places in rounds:
            rows = det_order[places]
            iou = rule.iou(dets.box[rows][:, None], gts.box[gt_rows[:k]])
            ignore = ignored[gt_rows[:k]]
            near_ignored = np.where(ignore, iou, -1.0).max(axis=1)
            near_wanted = np.where(ignore, -1.0, iou).max(axis=1)
            equal = np.where(near_wanted == near_ignored, ignore.mean(axis=1), 0.0)
            weight[rows] = np.where(near_wanted > near_ignored, 1.0, equal)
    return weight


def _area_under(score, taken, miss_weight, positives):
    """score, taken, miss_weight: (N,) of one class, by frame and falling score -> AP."""
    order = np.argsort(score, kind="stable")[::-1]
    true = np.cumsum((taken == 1)[order], dtype=np.float64)
    false = np.cumsum(np.where(taken == 0, miss_weight, 0.0)[order])
    precision = true / (true + false + np.finfo(np.float64).eps)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(true / positives, prepend=0.0) * envelope))


def _mega_iou(a, b):
    # MEGA adds 1 to the far corners and its IoU adds 1 again: w = x2 - x1 + 2, in float32.
    return inclusive_iou(a.astype(np.float32), b.astype(np.float32), extra=1)


def _fgfa_iou(a, b):
    return inclusive_iou(a.astype(np.float64), b.astype(np.float64))


def _fgfa_threshold(box):
    """Below 0.5 for boxes of less than about 24 pixels a side, where 10 pixels more already break 0.5."""
    w, h = (box[:, 2:].astype(np.float64) - box[:, :2] + 1).T
    return np.minimum(0.5, w * h / ((w + 10) * (h + 10)))


def _first_best(iou, ignore):
    return iou.argmax(axis=1)


def _first_wanted_best(iou, ignore):
    """Of equal IoUs the first box of the range; where all of them are ignored, the last."""
    best = iou == iou.max(axis=1, keepdims=True)
    wanted = best & ~ignore
    last = iou.shape[1] - 1 - best[:, ::-1].argmax(axis=1)
    return np.where(wanted.any(axis=1), wanted.argmax(axis=1), last)


CONVENTIONS = {
    "mega": Convention(_mega_iou, lambda box: np.full(len(box), 0.5), True, _first_wanted_best),
    "fgfa": Convention(_fgfa_iou, _fgfa_threshold, False, _first_best),
}
