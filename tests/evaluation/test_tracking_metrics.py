"""AO, SR, success curve and speed: as the toolkit recorded them, and as a plain rewrite counts them."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from track_sets import load, random_boxes

from stpn.evaluation.tracking_metrics import (
    THRESHOLDS,
    Tracks,
    box_overlaps,
    counted,
    group_scores,
    tracking_scores,
)
from stpn.evaluation.tracking_results import opened, read_tracks

CASES = ["c1_plain", "c2_absent", "c10_prediction_equals_gt"]


@pytest.mark.parametrize("tracker", ["TrkA", "TrkB"])
@pytest.mark.parametrize("case", CASES)
def test_the_toolkits_report_comes_out(fixtures_dir, case, tracker):
    folder = fixtures_dir / "vot/got10k_eval" / case
    expected = json.loads((folder / "expected.json").read_text())[tracker]
    records, _, _ = load(folder / "data/val")
    with opened(folder / "results/GOT-10k" / tracker) as root:
        tracks = read_tracks(root, records, where=tracker)
    whole, by_name = tracking_scores(records, tracks)
    overall = expected["overall"]
    got = [whole.ao, whole.sr50, whole.sr75, whole.fps, np.mean([score.ao for score in by_name.values()])]
    names = ("ao", "sr", "sr_0.75_from_curve", "speed_fps", "mean_of_seq_ao")
    np.testing.assert_allclose(got, [overall[name] for name in names], rtol=0, atol=1e-9)
    np.testing.assert_allclose(whole.curve, overall["succ_curve"], rtol=0, atol=1e-9)
    assert list(by_name) == list(expected["seq_wise"])
    for name, sequence in expected["seq_wise"].items():
        np.testing.assert_allclose([by_name[name].ao, by_name[name].sr50, by_name[name].fps],
                                   [sequence["ao"], sequence["sr"], sequence["speed_fps"]], rtol=0, atol=1e-9)


def plain_overlap(box, truth, size):
    """One pair, from the words of the definition."""

    def clip(x, y, w, h):
        x, y = min(max(x, 0), size[0]), min(max(y, 0), size[1])
        return x, y, min(max(w, 0), size[0] - x), min(max(h, 0), size[1] - y)

    (x, y, w, h), (u, v, s, t) = clip(*box), clip(*truth)
    shared = max(0, min(x + w, u + s) - max(x, u)) * max(0, min(y + h, v + t) - max(y, v))
    return min(max(shared / (w * h + s * t - shared + 2.0**-52), 0), 1)


def random_case(seed):
    rng = np.random.default_rng(seed)
    records, tracks = [], {}
    for n, length in enumerate(rng.integers(1, 9, 4)):
        truth = random_boxes(rng, length)
        records.append({
            "name": f"S{n}", "width": 64, "height": 48, "boxes": truth, "absent": rng.random(length) < 0.3,
            "cover": rng.integers(0, 9, length) if n % 3 else None})
        boxes = truth + rng.normal(0, 4, (1 + n % 3, length, 4))
        times = np.where(rng.random(boxes.shape[:2]) < 0.2, rng.choice([np.nan, 0.0], boxes.shape[:2]),
                         rng.uniform(0.01, 0.1, boxes.shape[:2]))
        tracks[f"S{n}"] = Tracks(boxes, times)
    return records, tracks


@pytest.mark.parametrize("seed", range(8))
def test_a_plain_rewrite_gives_the_same(seed):
    records, tracks = random_case(seed)
    whole, by_name = tracking_scores(records, tracks)
    everything, every_rate = [], []
    for record in records:
        found, overlaps = tracks[record["name"]], []
        for run in found.boxes:
            for t in range(1, len(run)):
                seen = record["cover"][t] > 0 if record["cover"] is not None else not record["absent"][t]
                if seen:
                    overlaps.append(plain_overlap(run[t], record["boxes"][t], (64, 48)))
        rates = [1 / t for run in found.times for t in run if t > 0]
        check(by_name[record["name"]], overlaps, rates)
        everything += overlaps
        every_rate += rates
    check(whole, everything, every_rate)


def check(score, overlaps, rates):
    def mean(values):
        return sum(values) / len(values) if values else math.nan

    expected = [mean(overlaps), mean([o > 0.5 for o in overlaps]), mean([o > 0.75 for o in overlaps]), mean(rates)]
    np.testing.assert_allclose([score.ao, score.sr50, score.sr75, score.fps], expected, rtol=1e-12)
    curve = [mean([o > threshold / 100 for o in overlaps]) for threshold in range(101)]
    np.testing.assert_allclose(score.curve, curve, rtol=1e-12)
    assert score.frames == len(overlaps)


def one(boxes, truth, *, size=(100, 100)):
    return box_overlaps(np.array([boxes], dtype=float), np.array([truth], dtype=float), size)[0]


def test_a_box_left_of_the_frame_keeps_its_width():
    assert one((-10, 0, 30, 10), (0, 0, 30, 10)) == pytest.approx(1)  # and not 20 of 30
    assert one((90, 90, 30, 30), (90, 90, 10, 10)) == pytest.approx(1)


def test_boxes_without_area_overlap_nothing():
    assert one((5, 5, 0, 0), (5, 5, 0, 0)) == one((5, 5, -3, 4), (5, 5, 3, 4)) == one((200, 5, 9, 9), (5, 5, 9, 9)) == 0


def test_an_overlap_at_the_threshold_is_no_success():
    record = {"name": "S", "width": 100, "height": 100, "boxes": np.array([[0, 0, 8, 8], [0, 0, 8, 8.0]]),
              "absent": np.zeros(2, bool), "cover": np.array([8, 8])}
    whole, _ = tracking_scores([record], {"S": Tracks(np.array([[[0, 0, 8, 8], [0, 0, 8, 4.0]]]), np.ones((1, 2)))})
    assert whole.ao == 0.5 and whole.sr50 == 0 and whole.curve[49] == 1
    assert THRESHOLDS[50] == 0.5 and THRESHOLDS[75] == 0.75


def test_frames_with_cover_count_whatever_absence_says_but_never_the_first():
    record = {"absent": np.array([False, True, True, False]), "cover": np.array([8, 1, 0, 0])}
    assert counted(record).tolist() == [False, True, False, False]
    assert counted({**record, "cover": None}).tolist() == [False, False, False, True]


def test_where_nothing_counts_the_figures_are_undefined():
    record = {"name": "S", "width": 9, "height": 9, "boxes": np.ones((1, 4)), "absent": np.zeros(1, bool),
              "cover": None}
    whole, _ = tracking_scores([record], {"S": Tracks(np.ones((1, 1, 4)), np.zeros((1, 1)))})
    assert np.isnan([whole.ao, whole.sr50, whole.sr75, whole.fps, *whole.curve]).all() and whole.frames == 0


@settings(max_examples=60, deadline=None)
@given(arrays(float, (2, 4), elements=st.floats(-80, 80, width=32)))
def test_overlap_is_symmetric_and_in_range(pair):
    a, b = pair[:1], pair[1:]
    overlap = box_overlaps(a, b, (64, 48))
    assert overlap == box_overlaps(b, a, (64, 48)) and 0 <= overlap <= 1
    assert overlap == pytest.approx([plain_overlap(a[0], b[0], (64, 48))], abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_groups_are_pooled_over_their_frames_that_count(seed):
    records, tracks = random_case(seed)
    rng = np.random.default_rng(seed)
    groups = {"some": {record["name"]: [t for t in range(len(record["absent"])) if rng.random() < 0.6]
                       for record in records[:3]},
              "first frames": {record["name"]: [0] for record in records}, "nothing": {}}
    scores = group_scores(records, tracks, groups)
    assert list(scores) == list(groups)
    for group, chosen in groups.items():
        overlaps = [plain_overlap(run[t], record["boxes"][t], (64, 48))
                    for record in records for run in tracks[record["name"]].boxes for t in range(1, len(run))
                    if t in chosen.get(record["name"], ())
                    and (record["cover"][t] > 0 if record["cover"] is not None else not record["absent"][t])]
        check(scores[group], overlaps, [])
    assert scores["some"].frames and not scores["first frames"].frames + scores["nothing"].frames


def test_groups_that_share_out_all_frames_make_up_the_whole():
    records, tracks = random_case(1)
    halves = {half: {record["name"]: range(start, len(record["absent"]), 2) for record in records}
              for start, half in enumerate(("even", "odd"))}
    scores, (whole, _) = group_scores(records, tracks, halves), tracking_scores(records, tracks)
    assert sum(score.frames for score in scores.values()) == whole.frames
    assert sum(score.ao * score.frames for score in scores.values()) / whole.frames == pytest.approx(whole.ao)
