"""The recorded figures of the published evaluations, through our evaluator: frames shuffled, cut into videos,
shared between processes, saved and read again."""

import json
from dataclasses import replace

import numpy as np
import pytest
from detectron2.utils import comm
from scipy.io import savemat

from stpn.evaluation import ImageNetVIDEvaluator
from stpn.evaluation.records import merge, record_video
from stpn.evaluation.tables import Detections, GroundTruth
from stpn.evaluation.truth import load_truth
from stpn.evaluation.vid_ap import MOTION_RANGES, vid_ap

CASES = [
    "case1_basic", "case2_empty_frames", "hand_border_iou", "hand_class_without_gt", "hand_no_gt_frame_fp",
    "hand_perfect",
]  # fmt: skip
RANGES = {"all": "AP50", "slow": "AP50-slow", "medium": "AP50-medium", "fast": "AP50-fast"}
CLASSES = [f"class{i}" for i in range(31)]  # recorded labels are 1..30; 0 stays empty


def recorded_set(fixtures_dir, case):
    """-> Detections, GroundTruth of a recorded case."""
    frames = json.loads((fixtures_dir / "vod/vid_eval" / f"{case}.json").read_text())["frames"]

    def column(key, *shape):
        return np.concatenate([np.array(frame[key], dtype=np.float64).reshape(-1, *shape) for frame in frames])

    def number(key):
        return np.repeat(np.arange(len(frames)), [len(frame[key]) for frame in frames])

    return (
        Detections(number("pred_scores"), column("pred_labels").astype(int), column("pred_boxes", 4),
                   column("pred_scores")),
        GroundTruth(number("gt_labels"), column("gt_labels").astype(int), column("gt_boxes", 4), len(frames),
                    column("motion_iou")),
    )  # fmt: skip


def recorded_figures(fixtures_dir, case, convention):
    """-> {range: ((31,) AP per class, mean)}, NaN where undefined."""
    folder = {"mega": "vid_eval", "fgfa": "vid_eval_fgfa"}[convention]
    result = json.loads((fixtures_dir / "vod" / folder / f"{case}.json").read_text())["result"]
    figures = {}
    for name in RANGES:
        by_class = result[name].get("ap_by_class_index") or [-1, *result[name].get("ap_class_1_to_30", [])]
        values = [np.nan if v is None or v < 0 else v for v in by_class]
        mean = result[name]["map"]
        figures[name] = np.array(values + [np.nan] * (31 - len(values))), np.nan if mean is None else mean
    return figures


def mean_of(ap):
    return np.nan if np.isnan(ap).all() else np.nanmean(ap)


@pytest.mark.parametrize("convention", ["mega", "fgfa"])
@pytest.mark.parametrize("case", CASES)
def test_recorded_figures_of_the_frames_as_they_are(case, convention, fixtures_dir):
    detections, truth = recorded_set(fixtures_dir, case)
    ap = vid_ap(detections, truth, num_classes=31, convention=convention)
    for name, (by_class, mean) in recorded_figures(fixtures_dir, case, convention).items():
        np.testing.assert_allclose(ap[name], by_class, atol=1e-9, rtol=0)
        np.testing.assert_allclose(mean_of(ap[name]), mean, atol=1e-9, rtol=0)
    if convention == "mega":
        recorded = json.loads((fixtures_dir / "vod/vid_eval" / f"{case}.json").read_text())["result"]["no_motion"]
        still = vid_ap(detections, replace(truth, motion=None), num_classes=31)
        np.testing.assert_allclose(mean_of(still["all"]), recorded["map"], atol=1e-9, rtol=0)
        assert all(np.isnan(still[name]).all() for name in MOTION_RANGES)


@pytest.mark.parametrize("convention", ["mega", "fgfa"])
@pytest.mark.parametrize("case", CASES)
def test_recorded_figures_of_shuffled_videos_class_by_class(case, convention, fixtures_dir, as_videos, tmp_path):
    detections, truth = recorded_set(fixtures_dir, case)
    wanted = recorded_figures(fixtures_dir, case, convention)
    for seed in range(3):
        dicts, pairs, table = as_videos(detections, truth, np.random.default_rng(seed))
        savemat(tmp_path / "motion.mat", table)
        frames, merged_truth = load_truth(dicts, num_classes=31, motion_file=tmp_path / "motion.mat")
        records = [record_video(*pair, index=i, num_classes=31) for i, pair in enumerate(pairs)]
        ap = vid_ap(merge(records, frames), merged_truth, num_classes=31, convention=convention)
        for name, (by_class, mean) in wanted.items():
            np.testing.assert_allclose(ap[name], by_class, atol=1e-9, rtol=0)
            np.testing.assert_allclose(mean_of(ap[name]), mean, atol=1e-9, rtol=0)


def of_processes(evaluate, shards, monkeypatch):
    """evaluate() of the main process among several, whose records are `shards`."""
    monkeypatch.setattr(comm, "gather", lambda data, dst=0: shards)
    return evaluate()


@pytest.mark.parametrize("convention", ["mega", "fgfa"])
@pytest.mark.parametrize("case", CASES)
def test_recorded_figures_from_three_processes_and_from_the_saved_file(
    case, convention, fixtures_dir, as_videos, register, tmp_path, monkeypatch
):
    rng = np.random.default_rng(len(case))
    dicts, pairs, table = as_videos(*recorded_set(fixtures_dir, case), rng)
    savemat(tmp_path / "motion.mat", table)
    name = register(dicts, CLASSES, motion_iou_file=str(tmp_path / "motion.mat"))
    shards = []
    for rank in range(3):  # some get no video at all
        evaluator = ImageNetVIDEvaluator(name)
        for sample, output in pairs[rank::3]:
            evaluator.process([sample], [output])
        shards.append(evaluator._records)
    main = ImageNetVIDEvaluator(name, motion_convention=convention, output_folder=tmp_path)
    figures = of_processes(main.evaluate, shards, monkeypatch)
    for key, (_, mean) in recorded_figures(fixtures_dir, case, convention).items():
        np.testing.assert_allclose(figures[f"vid_{convention}"][RANGES[key]] / 100, mean, atol=1e-9, rtol=0)
    again = ImageNetVIDEvaluator(name, motion_convention=convention).evaluate_file(tmp_path / "vid_detections.json")
    np.testing.assert_equal(again, figures)  # equal, NaN included, not merely close
