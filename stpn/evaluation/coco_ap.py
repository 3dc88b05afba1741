"""COCO-style box AP over a dataset held in arrays.

The rules are those of pycocotools' COCOeval (bbox): 10 IoU thresholds, 101 recall points, the 100 best
detections per frame and class, sizes split at 32^2 and 96^2 pixels, w = x2 - x1.
tests/evaluation/test_coco_ap.py holds this file to pycocotools' figures. It exists because pycocotools needs
one Python dict per detection and one Python call per frame, class and size: about 20 minutes for the 176,126
frames of ImageNet VID val.

There is no crowd region in video detection sets; the caller refuses them.
"""

import numpy as np

from .tables import cells

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}
MAX_DETECTIONS = 100


def coco_ap(detections, truth, *, num_classes):
    """detections: Detections; truth: GroundTruth.
    -> (A, 10, num_classes) AP in 0..1 per size (order of AREAS), IoU threshold and class; NaN where a class
    has no ground truth of that size."""
    detections, truth = detections.best_first(), truth.by_frame()
    ap = np.full((len(AREAS), len(IOU_THRESHOLDS), num_classes), np.nan)
    for label in np.unique(truth.label):
        dets = _best_per_frame(detections.take(detections.label == label))
        gts = truth.take(truth.label == label)
        for a, limits in enumerate(AREAS.values()):
            ap[a, :, label] = _class_ap(dets, gts, limits)
    return ap


def coco_summary(ap):
    """ap: (A, 10, C) of coco_ap -> AP, AP50, AP75, APs, APm, APl in percent, NaN where undefined."""
    rows = {
        "AP": ap[0], "AP50": ap[0, 0], "AP75": ap[0, 5], "APs": ap[1], "APm": ap[2], "APl": ap[3],
    }  # fmt: skip
    return {name: percent(values) for name, values in rows.items()}


def percent(ap):
    """Mean over what is defined, times 100; NaN when nothing is."""
    defined = ap[~np.isnan(ap)]
    return float(defined.mean() * 100) if defined.size else float("nan")


def _best_per_frame(dets):
    """dets: best_first, of one class -> without what comes after the 100 best of a frame."""
    rank = np.arange(len(dets)) - np.searchsorted(dets.frame, dets.frame, side="left")
    return dets.take(rank < MAX_DETECTIONS)


def _class_ap(dets, gts, limits):
    """One class and size. -> (10,) AP, NaN without ground truth of that size."""
    ignored = _outside(_area(gts.box), limits)
    positives = np.count_nonzero(~ignored)
    if not positives:
        return np.full(len(IOU_THRESHOLDS), np.nan)
    matched, dropped = _match(dets, gts, ignored)
    dropped = np.where(matched, dropped, _outside(_area(dets.box), limits))
    order = np.argsort(-dets.score, kind="stable")
    true = np.cumsum((matched & ~dropped)[:, order], axis=1, dtype=np.float64)
    false = np.cumsum((~matched & ~dropped)[:, order], axis=1, dtype=np.float64)
    return np.array([_interpolated_ap(t, f, positives) for t, f in zip(true, false, strict=True)])


def _match(dets, gts, ignored):
    """Each detection, best first, takes the free box with the highest IoU at or above the threshold; boxes
    outside the size range are ignored: they are taken only when no other fits.
    -> matched, dropped: (10, N) bool; dropped: matched with an ignored box."""
    thresholds = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)[:, None, None]
    matched = np.zeros((len(IOU_THRESHOLDS), len(dets)), dtype=bool)
    dropped = np.zeros_like(matched)
    for gt_rows, rounds in cells(dets.frame, gts.frame):
        free = np.ones((len(IOU_THRESHOLDS), *gt_rows.shape), dtype=bool)
        for k, rows in rounds:
            iou = _iou(dets.box[rows][:, None], gts.box[gt_rows[:k]])
            ignore = ignored[gt_rows[:k]]
            fits = free[:, :k] & (iou >= thresholds)
            wanted = fits & ~ignore
            candidates = np.where(wanted.any(axis=2, keepdims=True), wanted, fits)
            choice = _last_argmax(np.where(candidates, iou, -1.0))
            hit = candidates.any(axis=2)
            t, g = np.nonzero(hit)
            free[t, g, choice[t, g]] = False
            matched[:, rows] = hit
            dropped[:, rows] = hit & ignore[np.arange(k), choice]
    return matched, dropped


def _last_argmax(values):
    """(..., m) -> (...) index of the largest, the last one among equals, as pycocotools keeps it."""
    return values.shape[-1] - 1 - np.argmax(values[..., ::-1], axis=-1)


def _interpolated_ap(true, false, positives):
    """true, false: (N,) running counts by falling score -> mean precision at the 101 recalls."""
    precision = true / (true + false + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(true / positives, RECALLS, side="left")
    return np.append(envelope, 0.0)[at].mean()


def _outside(area, limits):
    return (area < limits[0]) | (area > limits[1])


def _area(box):
    box = box.astype(np.float64)
    return _product(box[:, 2:] - box[:, :2])


def _product(size):
    return size[..., 0] * size[..., 1]


def _iou(a, b):
    """a: (k, 1, 4), b: (k, m, 4) XYXY, w = x2 - x1 -> (k, m). The sums follow pycocotools, which holds boxes
    as x, y, w, h, to the last bit: thresholds are compared with these numbers."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    shared = np.minimum(a[..., :2] + size_a, b[..., :2] + size_b) - np.maximum(a[..., :2], b[..., :2])
    inter = _product(shared.clip(min=0))
    union = _product(size_a) + _product(size_b) - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=inter > 0)
