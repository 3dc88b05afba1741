"""Our array version of COCO AP against pycocotools."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from stpn.evaluation.coco_ap import coco_ap, coco_summary
from stpn.evaluation.tables import Detections, GroundTruth


def reference(detections, truth, num_classes):
    """pycocotools on the same boxes -> (A, 10, C) AP, NaN where undefined, and its 12 summary figures."""

    def line(table, n):
        x1, y1, x2, y2 = (float(v) for v in table.box[n])
        box = [x1, y1, x2 - x1, y2 - y1]
        return {"image_id": int(table.frame[n]) + 1, "category_id": int(table.label[n]) + 1, "bbox": box}

    ground = [
        {**line(truth, n), "id": n + 1, "iscrowd": 0, "area": np.prod(line(truth, n)["bbox"][2:])}
        for n in range(len(truth))
    ]
    found = [{**line(detections, n), "score": float(detections.score[n])} for n in range(len(detections))]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i + 1} for i in range(truth.num_frames)],
            "categories": [{"id": c + 1} for c in range(num_classes)],
            "annotations": ground,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][..., -1]  # (thresholds, recalls, classes, sizes), the 100 best
    ap = np.where(precision < 0, np.nan, precision).mean(axis=1)
    return ap.transpose(2, 0, 1), evaluation.stats


@pytest.mark.parametrize("integer", [False, True], ids=["distinct", "tied scores, integer boxes"])
@pytest.mark.parametrize("seed", range(4))
def test_equals_pycocotools(seed, integer, random_set):
    detections, truth = random_set(seed, frames=15, classes=4, integer=integer)
    ap, stats = reference(detections, truth, 4)
    ours = coco_ap(detections, truth, num_classes=4)
    np.testing.assert_allclose(ours, ap, atol=1e-12, rtol=0)
    summary = np.array(list(coco_summary(ours).values()))
    np.testing.assert_allclose(np.nan_to_num(summary / 100, nan=-1), stats[:6], atol=1e-12, rtol=0)


def test_only_the_hundred_best_of_a_frame_and_class_count(random_set):
    """300 detections in 2 frames: the hits at the end of the list are never seen."""
    _, truth = random_set(1, frames=2, classes=1)
    rng = np.random.default_rng(0)
    stray = rng.uniform(0, 20, (300, 4)) + [0, 0, 20, 20]
    count = len(truth)
    detections = Detections(
        np.concatenate([np.arange(300) % 2, truth.frame]),
        np.zeros(300 + count, dtype=int),
        np.concatenate([stray, truth.box]),
        np.concatenate([rng.uniform(0.4, 1, 300), rng.uniform(0.3, 0.5, count)]),
    )
    assert count, "the seed must give boxes"
    np.testing.assert_allclose(
        coco_ap(detections, truth, num_classes=1), reference(detections, truth, 1)[0], atol=1e-12
    )


def test_perfect_predictions_score_100(random_set):
    _, truth = random_set(5)
    perfect = Detections(truth.frame, truth.label, truth.box, np.linspace(0.1, 1, len(truth)))
    summary = coco_summary(coco_ap(perfect, truth, num_classes=3))
    assert [summary[name] for name in ("AP", "AP50", "AP75")] == pytest.approx([100] * 3)


def test_a_width_is_x2_minus_x1():
    """IoU of rows 0..9 and 0..4 is 4/9, below 0.5; with the VID convention's +1 it would be 5/10."""
    zero = np.array([0])
    truth = GroundTruth(zero, zero, np.array([[0.0, 0, 9, 9]]), 1)
    half = Detections(zero, zero, np.array([[0.0, 0, 9, 4]]), np.array([0.9]))
    assert coco_summary(coco_ap(half, truth, num_classes=1))["AP50"] == 0


def test_nothing_predicted_is_zero_and_nothing_to_find_is_undefined(random_set):
    detections, truth = random_set(0)
    assert coco_summary(coco_ap(detections.take([]), truth, num_classes=3))["AP"] == 0
    assert all(np.isnan(v) for v in coco_summary(coco_ap(detections, truth.take([]), num_classes=3)).values())
