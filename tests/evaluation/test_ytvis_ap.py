"""YouTube-VIS AP against figures recorded from the evaluation server's program, a slow rewrite with plain masks, and
sets small enough to know the answer."""

import copy
import functools
import json

import numpy as np
import pytest
import tube_sets
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from tube_sets import random_set, result, track, tube

from stpn.errors import InputError
from stpn.evaluation.ytvis_ap import STATS, restrict, tube_iou, ytvis_ap
from stpn.evaluation.ytvis_truth import load_ytvis_truth

SIZE = (20, 30)
RECORDED = ("c1_mixed", "c3_many_dets_gt100", "c6_category_all_crowd", "c7_perfect_all_same_score")


def evaluate(truth, results):
    return ytvis_ap(truth.tracks, results, video_ids=truth.videos, category_ids=truth.categories)


@pytest.fixture
def of(tmp_path):
    """of(content, results) -> YtvisAP, by way of the file."""

    def run(whole, results):
        (tmp_path / "set.json").write_text(json.dumps(whole))
        return evaluate(load_ytvis_truth(tmp_path / "set.json"), results)

    return run


def assert_equal(a, b):
    for name in ("stats", "precision", "recall"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True, err_msg=name)


# Recorded figures


@pytest.fixture(scope="module", params=RECORDED)
def recorded(request, fixtures_dir):
    """-> truth, predictions, recorded figures, AP of each category."""
    folder = fixtures_dir / "vis" / "ytvis_eval" / request.param
    figures, curves = json.loads((folder / "result.json").read_text()), np.load(folder / "precision_recall.npz")
    found = type("Recorded", (), {"stats": np.array(figures["stats"]), **{n: curves[n] for n in curves.files}})
    assert figures["names"] == list(STATS)
    predictions = json.loads((folder / "pred.json").read_text())
    return load_ytvis_truth(folder / "gt.json"), predictions, found, figures["per_category_AP"]


def test_recorded_figures_come_out_to_the_last_bit(recorded, capsys):
    truth, predictions, figures, per_category = recorded
    ours = evaluate(truth, predictions)
    assert_equal(ours, figures)
    for category_id, ap in per_category.items():
        assert ours.of_category(int(category_id)) == (-1 if np.isnan(ap) else ap)
    assert capsys.readouterr().out == ""


def test_records_may_be_shuffled_as_long_as_equal_scores_of_a_video_and_category_keep_their_order(recorded):
    truth, predictions, figures, _ = recorded
    rng = np.random.default_rng(0)
    cells = {}
    for prediction in predictions:
        cells.setdefault((prediction["video_id"], prediction["category_id"]), []).append(prediction)
    turns = [key for key, found in cells.items() for _ in found]
    queues = {key: iter(found) for key, found in cells.items()}
    shuffled = [next(queues[turns[i]]) for i in rng.permutation(len(turns))]
    assert list(map(id, shuffled)) != list(map(id, predictions))
    assert_equal(evaluate(truth, shuffled), figures)


# A slow rewrite: masks as arrays, loops


RANGES = [(0, 1e10), (0, 128**2), (128**2, 256**2), (256**2, 1e10)]


class Plain:
    """A track or a prediction with its pixels, bool (T, H, W)."""

    def __init__(self, item):
        self.video_id, self.category_id, self.score = item["video_id"], item["category_id"], item.get("score")
        sizes = [s["size"] for s in item["segmentations"] if s]
        self.pixels = np.stack([coco_mask.decode([s])[..., 0].astype(bool) if s else np.zeros(sizes[0], bool)
                                for s in item["segmentations"]]) if sizes else np.zeros((1, 1, 1), bool)
        self.crowd = item.get("iscrowd")
        self.area = mean_area(item["areas"] if "areas" in item else self.pixels.sum((1, 2)))


def mean_area(areas):
    return np.mean([a for a in areas if a]) if any(areas) else 0


@functools.cache
def plain_iou(a, b):
    both, either = a.pixels & b.pixels, a.pixels | b.pixels
    return both.sum() / either.sum() if either.any() else 0.0


def plain_cell(tracks, found, limits, most, threshold):
    """One video and category -> scores, hits (1 hit, 0 miss, None not counted), number of wanted tracks."""
    wanted = [not t.crowd and limits[0] <= t.area <= limits[1] for t in tracks]
    taken, hits = set(), []
    found = sorted(found, key=lambda p: -p.score)[:100][:most]
    for prediction in found:
        ious = [plain_iou(prediction, t) for t in tracks]
        free = [g for g, t in enumerate(tracks) if ious[g] >= threshold and (g not in taken or t.crowd)]
        choice = max([g for g in free if wanted[g]] or free, key=lambda g: (ious[g], g), default=None)
        if choice is not None:
            taken.add(choice)
            hits.append(1 if wanted[choice] else None)
        else:
            hits.append(0 if limits[0] <= prediction.area <= limits[1] else None)
    return [p.score for p in found], hits, sum(wanted)


def plain_curve(tracks, found, category_id, limits, most, threshold):
    """-> (AP, recall), or None without ground truth."""
    rows, total = [], 0
    for video_id in sorted({item.video_id for item in [*tracks, *found]}):
        own = [[x for x in items if (x.video_id, x.category_id) == (video_id, category_id)]
               for items in (tracks, found)]
        scores, hits, wanted = plain_cell(*own, limits, most, threshold)
        rows += zip(scores, hits)
        total += wanted
    if not total:
        return None
    hits = [h for _, h in sorted(rows, key=lambda row: -row[0]) if h is not None]
    recall = np.cumsum(hits) / total
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    ap = np.mean([max(precision[recall >= r], default=0.0) for r in np.linspace(0, 1, 101)])
    return ap, recall[-1] if len(hits) else 0.0


def plain_stats(whole, results, thresholds):
    """-> some of the figures, over these thresholds."""
    tracks, found = ([Plain(item) for item in items] for items in (whole["annotations"], results))

    def mean(which, limits, most=100):
        curves = [plain_curve(tracks, found, c["id"], limits, most, t) for c in whole["categories"]
                  for t in thresholds]
        values = [c[which] for c in curves if c is not None]
        return np.mean(values) if values else -1

    return {"AP": mean(0, RANGES[0]), "APs": mean(0, RANGES[1]), "APm": mean(0, RANGES[2]), "APl": mean(0, RANGES[3]),
            "AR1": mean(1, RANGES[0], 1), "AR100": mean(1, RANGES[0]), "ARm": mean(1, RANGES[2])}


@pytest.mark.parametrize("seed", range(4))
def test_equals_a_slow_rewrite_with_plain_masks(seed, of):
    whole, results = random_set(seed, videos=6, ties=seed == 3)
    ours = of(whole, results)
    picked = [0, 5, 8]  # IoU 0.5, 0.75, 0.9
    expected = plain_stats(whole, results, np.linspace(0.5, 0.95, 10)[picked])
    part = {"AP": (ours.precision[picked][..., 0, -1]), "APs": ours.precision[picked][..., 1, -1],
            "APm": ours.precision[picked][..., 2, -1], "APl": ours.precision[picked][..., 3, -1],
            "AR1": ours.recall[picked][..., 0, 0], "AR100": ours.recall[picked][..., 0, 2],
            "ARm": ours.recall[picked][..., 2, 2]}
    for name, values in part.items():
        defined = values[values > -1]
        assert expected[name] == pytest.approx(defined.mean() if defined.size else -1, abs=1e-12), name
    assert 0.1 < expected["AP"] < 0.99


# Known answers


def test_perfect_predictions_score_1(of):
    whole, _ = random_set(1)
    whole["annotations"] = [{**a, "iscrowd": 0} for a in whole["annotations"]]
    rows = whole["annotations"]
    ours = of(whole, [result(a["video_id"], a["category_id"], 0.5, a["segmentations"]) for a in rows])
    assert {name for name, value in zip(STATS, ours.stats) if value == pytest.approx(1)} >= {"AP", "AP75", "AR100"}
    assert ours.of_category(9) == -1  # there is no cow


@pytest.mark.parametrize("annotations, expected", [(True, 0), (False, -1)], ids=["no predictions", "nothing at all"])
def test_nothing_found_scores_0_and_nothing_to_find_is_undefined(annotations, expected, of):
    whole, results = random_set(1)
    if not annotations:
        whole["annotations"] = []
        assert (of(whole, results).stats == -1).all()
    assert of(whole, []).stats[0] == expected


def test_a_crowd_takes_many_predictions_but_has_the_plain_iou(of):
    """COCO's crowd IoU, shared pixels by the prediction's, would make the quarter inside the crowd a match."""
    crowd = track(1, 1, 2, tube(SIZE, (0, 0, 20, 20)), iscrowd=1)
    wanted = track(2, 1, 2, tube(SIZE, (22, 0, 8, 8)))
    whole = tube_sets.content({1: (1, *SIZE)}, [crowd, wanted])
    on_crowd, hit = tube(SIZE, (0, 0, 20, 19)), result(1, 2, 0.1, wanted["segmentations"])
    assert of(whole, [result(1, 2, 0.9, on_crowd), result(1, 2, 0.8, on_crowd), hit]).stats[1] == pytest.approx(1)
    inside = result(1, 2, 0.9, tube(SIZE, (0, 0, 10, 10)))
    assert of(whole, [inside, hit]).stats[1] == pytest.approx(0.5)


def test_tube_iou_counts_frames_in_which_one_of_them_is_absent():
    def as_tube(*boxes):
        return {"rles": tube(SIZE, *boxes), "areas": [b[2] * b[3] if b else 0 for b in boxes]}

    a = as_tube((0, 0, 10, 10), (0, 0, 10, 10), None, None, (3, 3, 0, 0))
    b = as_tube((5, 0, 10, 10), None, (0, 0, 4, 5), None, (3, 3, 2, 2))
    assert tube_iou(a, b) == 50 / (150 + 100 + 20 + 4) == tube_iou(b, a)
    assert tube_iou(as_tube(None), as_tube((1, 1, 0, 0))) == 0


def test_size_of_a_track_is_the_mean_of_the_areas_in_the_file_where_they_are_not_0(of):
    """The mean of the masks' areas, 20,000, is medium, over all three frames it would be small; the file's areas
    decide where they differ from the masks."""
    row = track(1, 1, 2, tube((300, 300), (0, 0, 150, 200), (0, 0, 100, 100), None))
    same = result(1, 2, 0.5, row["segmentations"])
    cases = [(row["areas"], {"APm"}), (None, {"APm"}), ([128**2, 0, None], {"APs", "APm"}), ([0, 0, None], {"APs"}),
             ([256**2 + 1, 256**2, None], {"APl"})]  # fmt: skip
    for areas, sizes in cases:
        whole = tube_sets.content({1: (3, 300, 300)}, [{**row, "areas": areas}])
        stats = dict(zip(STATS, of(whole, [same]).stats))
        assert {name for name in ("APs", "APm", "APl") if stats[name] == pytest.approx(1)} == sizes, areas


def test_only_the_hundred_best_of_a_video_and_category_count(of):
    row = track(1, 1, 2, tube(SIZE, (5, 5, 9, 9)))
    whole = tube_sets.content({1: (1, *SIZE), 2: (1, *SIZE)}, [row])
    strays = [result(1, 2, 0.9 - n / 1000, tube(SIZE, (20, 5, 9, 9))) for n in range(100)]
    hit = result(1, 2, 0.1, row["segmentations"])
    assert of(whole, [*strays, hit]).stats[0] == 0 < of(whole, [*strays[:99], hit]).stats[0]
    others = [{**stray, "video_id": 2} for stray in strays[50:]]
    assert of(whole, [*strays[:50], *others, hit]).stats[0] > 0


def test_restricted_to_frames_all_others_become_absent():
    rows = [track(1, 1, 2, tube(SIZE, (0, 0, 4, 4), (0, 0, 6, 6), None)), track(2, 3, 2, tube(SIZE, (0, 0, 4, 4)))]
    (kept,) = restrict(rows, {1: {1, 2}})
    assert (kept["id"], kept["areas"]) == (1, [None, 36, None])
    assert kept["segmentations"] == [None, rows[0]["segmentations"][1], None]
    assert restrict(rows, {1: {2}, 3: {1}}) == []


# What does not matter


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), order=st.randoms(use_true_random=False))
def test_order_of_videos_categories_tracks_and_records_does_not_matter(seed, order, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "set.json"

    def of(whole, results):
        path.write_text(json.dumps(whole))
        return evaluate(load_ytvis_truth(path), results)

    whole, results = random_set(seed, videos=3)
    before, moved = of(whole, results), copy.deepcopy(whole)
    for rows in (*(moved[name] for name in ("videos", "categories", "annotations")), results):
        order.shuffle(rows)
    assert_equal(of(moved, results), before)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_only_the_order_of_scores_counts_and_repeats_do_not_help(seed):
    """One track per video and category: of two that overlap, a repeat may find the one that the first left over."""
    whole, results = random_set(seed, videos=3)
    tracks = list({(a["video_id"], a["category_id"]): a for a in whole["annotations"]}.values())
    given = {"video_ids": [v["id"] for v in whole["videos"]], "category_ids": [c["id"] for c in whole["categories"]]}
    before = ytvis_ap(tracks, results, **given)
    scaled = [{**r, "score": 100 * r["score"] ** 3 - 7} for r in results]
    assert_equal(ytvis_ap(tracks, scaled, **given), before)
    repeated = [*results, *({**r, "score": r["score"] - 1} for r in results)]
    assert ytvis_ap(tracks, repeated, **given).stats[0] <= before.stats[0] + 1e-12


def test_masks_may_be_written_in_any_of_their_forms(of):
    whole, results = random_set(2)
    other = tube_sets.in_other_forms(whole)
    forms = {type(s["counts"]) for a in other["annotations"] for s in a["segmentations"] if s}
    assert forms == {list, str} and any(s == [] for a in other["annotations"] for s in a["segmentations"])
    assert_equal(of(other, results), of(whole, results))


def test_polygons_are_ground_truth_as_well(of):
    row = track(1, 1, 2, tube(SIZE, (4, 3, 12, 9), None))
    drawn = {**row, "segmentations": [[[4, 3, 16, 3, 16, 12, 4, 12]], [[1, 1, 2, 2]]], "areas": None}
    whole = tube_sets.content({1: (2, *SIZE)}, [drawn])
    assert of(whole, [result(1, 2, 0.5, row["segmentations"])]).stats[0] == pytest.approx(1)


@pytest.mark.parametrize("change, words", [
    ({"areas": [5]}, r"annotations\[0\].areas is \[5\]; expected .* each of the 2 frames of video 1"),
    ({"areas": [5, "x"]}, "annotations.0..areas is"),
    ({"areas": [5, float("nan")]}, "annotations.0..areas is"),
    ({"segmentations": [None]}, "annotations.0..segmentations has 1 entries"),
    ({"category_id": 4}, "annotations.0..category_id 4 is not the id"),
])  # fmt: skip
def test_ground_truth_that_cannot_be_evaluated_with_is_named(change, words, tmp_path):
    row = track(1, 1, 2, tube(SIZE, (4, 3, 12, 9), None))
    (tmp_path / "set.json").write_text(json.dumps(tube_sets.content({1: (2, *SIZE)}, [{**row, **change}])))
    with pytest.raises(InputError, match=words):
        load_ytvis_truth(tmp_path / "set.json")


@pytest.mark.parametrize("labels", [{}, {"annotations": None}])
def test_a_file_without_annotations_hides_its_labels(labels, tmp_path):
    whole = {**tube_sets.content({7: (2, *SIZE)}, None), **labels}
    (tmp_path / "set.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(whole).encode())
    truth = load_ytvis_truth(tmp_path / "set.json")
    assert truth.tracks is None and truth.videos[7].size == SIZE and truth.videos[7].length == 2
