"""One-pass evaluation: the figures against a plain rewrite, the flat result files, the submission for hidden labels."""

import json
import math
import zipfile

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from track_sets import lines, random_boxes

from stpn.errors import InputError
from stpn.evaluation import OPEEvaluator, build_evaluator
from stpn.evaluation.flat_results import read_flat_or_folders
from stpn.evaluation.ope_metrics import ope_scores
from stpn.evaluation.tracking_files import write_tracks
from stpn.evaluation.tracking_metrics import Tracks
from stpn.evaluation.tracking_results import opened

LENGTHS = [6, 1, 4]


def record(name, boxes, absent=None):
    return {"video_id": f"x/{name}", "name": name, "video_length": len(boxes), "width": 64, "height": 48,
            "boxes": boxes, "absent": np.zeros(len(boxes), bool) if absent is None else absent, "cover": None}


def random_case(seed, *, repetitions=1):
    rng = np.random.default_rng(seed)
    records, tracks = [], {}
    for n, length in enumerate([*LENGTHS, *rng.integers(1, 9, 3)]):
        truth = random_boxes(rng, length)
        truth[rng.random(length) < 0.2, 2] = 0  # no box
        records.append(record(f"S{n}", truth, rng.random(length) < 0.2))
        # From the truth itself to far away; some without an area.
        noise = rng.normal(0, rng.choice([0, 1, 20]), (repetitions, length, 4))
        times = np.where(rng.random((repetitions, length)) < 0.2, np.nan, rng.uniform(0.01, 0.1, (repetitions, length)))
        tracks[f"S{n}"] = Tracks(truth + noise, times)
    return records, tracks


def plain_figures(records, tracks):
    """AUC, P20, NP_AUC, NP0.2 in words: per sequence, then the mean."""
    rows = []
    for one in records:
        ious, far, relative = [], [], []
        for run in tracks[one["name"]].boxes:
            for (x, y, w, h), (u, v, s, t), absent in zip(run, one["boxes"], one["absent"]):
                if absent or s <= 0 or t <= 0:
                    continue
                shared = max(0, min(x + w, u + s) - max(x, u)) * max(0, min(y + h, v + t) - max(y, v))
                ious.append(shared / (max(w, 0) * max(h, 0) + s * t - shared) if shared else 0)
                dx, dy = x + w / 2 - u - s / 2, y + h / 2 - v - t / 2
                far.append(math.sqrt(dx**2 + dy**2))
                relative.append(math.sqrt((dx / s) ** 2 + (dy / t) ** 2))
        if ious:
            n = len(ious)
            success = [sum(iou > k / 20 for iou in ious) / n for k in range(21)]
            normal = [sum(value <= k / 100 for value in relative) / n for k in range(51)]
            rows.append([sum(success) / 21, sum(d <= 20 for d in far) / n, sum(normal) / 51, normal[20]])
    return [100 * sum(column) / len(rows) for column in zip(*rows)]


@pytest.mark.parametrize("seed", range(8))
def test_a_plain_rewrite_gives_the_same(seed):
    records, tracks = random_case(seed, repetitions=1 + seed % 2)
    whole, by_name = ope_scores(records, tracks)
    np.testing.assert_allclose(list(whole.accuracy().values()), plain_figures(records, tracks), rtol=1e-12)
    for one in records:
        alone, _ = ope_scores([one], tracks)
        assert by_name[one["name"]].accuracy() == pytest.approx(alone.accuracy(), nan_ok=True)
    rates = [1 / t for found in tracks.values() for t in found.times.flat if t > 0]
    assert whole.fps == pytest.approx(sum(rates) / len(rates))


def one(boxes, truth, **options):
    score, _ = ope_scores([record("S", np.array(truth, float), **options)],
                          {"S": Tracks(np.array([boxes], float), np.ones((1, len(boxes))))})
    return score


def test_the_truth_scores_100_but_for_the_threshold_that_nothing_is_above():
    figures = one([[5, 5, 10, 10]] * 3, [[5, 5, 10, 10]] * 3).accuracy()
    assert figures == pytest.approx({"AUC": 2000 / 21, "P20": 100, "NP_AUC": 100, "NP0.2": 100})


def test_an_overlap_at_a_threshold_is_no_success_and_a_distance_at_one_is():
    score = one([[0, 0, 8, 4]], [[0, 0, 8, 8]])
    assert score.curve[9] == 1 and score.curve[10] == 0
    score = one([[32, 16, 100, 50]], [[20, 0, 100, 50]])  # 20 pixels from 12 and 16
    assert score.precision[20] == 1 and score.precision[19] == 0
    assert one([[25, 0, 100, 50]], [[0, 0, 100, 50]]).normalised[[24, 25]].tolist() == [0, 1]


def test_distances_are_divided_by_the_true_width_and_height_each():
    wide, high = one([[10, 0, 100, 10]], [[0, 0, 100, 10]]), one([[0, 10, 100, 10]], [[0, 0, 100, 10]])
    assert wide.normalised[10] == 1 and wide.normalised[9] == 0 and high.normalised[50] == 0


def test_frames_without_the_target_do_not_count_and_the_first_one_does():
    boxes, truth = [[0, 0, 8, 8], [90, 0, 8, 8], [90, 0, 8, 8]], [[0, 0, 8, 8], [0, 0, 8, 8], [0, 0, 0, 0]]
    score = one(boxes, truth, absent=np.array([False, True, False]))
    assert score.frames == 1 and score.accuracy()["P20"] == 100


def test_sequences_weigh_alike_whatever_their_length_and_those_without_a_frame_nothing():
    records = [record("long", np.full((9, 4), 5.0)), record("short", np.full((1, 4), 5.0)),
               record("empty", np.zeros((3, 4)))]
    tracks = {"long": Tracks(np.full((1, 9, 4), 50.0), np.ones((1, 9))), "short": Tracks(np.full((1, 1, 4), 5.0),
              np.ones((1, 1))), "empty": Tracks(np.full((1, 3, 4), 5.0), np.full((1, 3), np.nan))}
    whole, by_name = ope_scores(records, tracks)
    assert whole.accuracy()["P20"] == 50 and whole.frames == 10
    assert all(math.isnan(value) for value in by_name["empty"].percent().values())
    assert None in by_name["empty"].plain()["succ_curve"] and json.dumps(whole.plain(), allow_nan=False)


@pytest.fixture
def ope_set():
    """register(records, **metadata) -> name of a data set for one test."""
    names = []

    def add(records, **metadata):
        names.append(f"ope_test_{len(names)}")
        DatasetCatalog.register(names[-1], lambda: records)
        MetadataCatalog.get(names[-1]).set(evaluator_type="ope", **metadata)
        return names[-1]

    yield add
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def sound_case():
    """Records with true first boxes, tracks near the truth."""
    rng = np.random.default_rng(3)
    records = [record(f"S{n}", np.abs(random_boxes(rng, length)) + 1) for n, length in enumerate(LENGTHS)]
    return records, {one["name"]: Tracks(one["boxes"][None] + rng.normal(0, 0.3, one["boxes"].shape),
                                         rng.uniform(0.01, 0.1, (1, one["video_length"]))) for one in records}


def write_flat(folder, tracks, *, times=True, form=lines):
    folder.mkdir()
    for name, found in tracks.items():
        (folder / f"{name}.txt").write_text(form(found.boxes[0]))
        if times:
            (folder / f"{name}_time.txt").write_text(lines(found.times.T, "%.8f"))
    return folder


def test_outputs_folders_and_flat_files_give_the_same_figures(ope_set, tmp_path):
    records, tracks = sound_case()
    name = ope_set(records, has_labels=True)
    evaluator = build_evaluator(None, name, tmp_path / "run")
    for one in records:
        found = tracks[one["name"]]
        evaluator.process([one], [{"boxes": found.boxes[0], "times": found.times[0], "scores": found.times[0]}])
    figures = evaluator.evaluate()
    assert list(figures) == ["ope"] and 50 < figures["ope"]["AUC"] < 2000 / 21
    content = json.loads((tmp_path / "run/ope_metrics.json").read_text())
    assert content["overall"]["success_auc"] == pytest.approx(figures["ope"]["AUC"] / 100)
    assert len(content["overall"]["succ_curve"]) == 21 and set(content["seq_wise"]) == set(tracks)
    assert Image.open(tmp_path / "run/ope_success.png").format == "PNG"
    tabs = write_flat(tmp_path / "tabs", tracks, form=lambda table: lines(table, "%.3f").replace(",", "\t"))
    for path in (tmp_path / "run/tracks", tabs):
        assert OPEEvaluator(name).evaluate_results(path) == figures
    bare = write_flat(tmp_path / "bare", tracks, times=False, form=lambda table: lines(table, "%.3f"))
    (again,) = OPEEvaluator(name).evaluate_results(bare).values()
    assert math.isnan(again.pop("fps")) and again == {k: v for k, v in figures["ope"].items() if k != "fps"}


WRONG = {
    "missing": (lambda at: (at / "S2.txt").unlink(), "S2.txt: is missing; expected 4 lines"),
    "short": (lambda at: (at / "S2.txt").write_text("1,2,3,4\n"), "S2.txt:1: the file ends here, after 1 lines"),
    "nan": (lambda at: (at / "S1.txt").write_text("nan,2,3,4\n"), "S1.txt:1: has a number that is not finite"),
    "foreign": (lambda at: (at / "S9.txt").write_text("1,2,3,4\n"), "S9.txt: belongs to no sequence"),
    "times": (lambda at: (at / "S0_time.txt").write_text("1\n" * 5), "S0_time.txt:5: the file ends here"),
    "stale": (lambda at: [(at / f"S{n}_time.txt").write_text("".join(f"{1 / (2 + t)}\n" for t in range(6)))
                          for n in (0, 3)], "S3_time.txt:1: has the times of S0"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_each_fault_of_flat_files_is_told_with_its_place(tmp_path, kind):
    records, tracks = sound_case()
    records.append(record("S3", records[0]["boxes"]))
    folder = write_flat(tmp_path / "flat", {**tracks, "S3": Tracks(tracks["S0"].boxes, tracks["S0"].times + 0.001)})
    with opened(folder) as root:
        assert len(read_flat_or_folders(root, records, where=folder)) == 4
        damage, told = WRONG[kind]
        damage(folder)
        with pytest.raises(InputError) as error:
            read_flat_or_folders(root, records, where=folder)
    assert str(error.value) == f"{folder}: {told}" or str(error.value).startswith(f"{folder}: {told}")


def test_a_folder_of_something_else_is_told(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with opened(tmp_path) as root, pytest.raises(InputError, match="neither a file nor a folder of a sequence"):
        read_flat_or_folders(root, sound_case()[0], where=tmp_path)


def test_boxes_counted_from_1_are_warned_of(ope_set, tmp_path, caplog):
    records, tracks = sound_case()
    name = ope_set(records, has_labels=True)
    for shift in (0, 1):
        shifted = {one["name"]: Tracks(one["boxes"][None] + [shift, shift, 0, 0], tracks[one["name"]].times)
                   for one in records}
        OPEEvaluator(name).evaluate_results(write_flat(tmp_path / f"{shift}", shifted))
        assert ("is it counted from 1" in caplog.text) == bool(shift)


def hidden_records():
    return [{**one, "boxes": np.concatenate([one["boxes"][:1], np.full((len(one["boxes"]) - 1, 4), np.nan)])}
            for one in sound_case()[0]]


def test_hidden_labels_give_an_archive_with_a_file_of_all_boxes_for_each_sequence(ope_set, tmp_path, caplog):
    _, tracks = sound_case()
    records = hidden_records()
    name = ope_set(records, has_labels=False, whole_set=3)
    evaluator = OPEEvaluator(name, output_folder=tmp_path / "run")
    for one in records:
        found = tracks[one["name"]]
        evaluator.process([one], [{"boxes": found.boxes[0], "times": found.times[0], "scores": found.times[0]}])
    assert evaluator.evaluate() == {} and "NO FIGURES" in caplog.text
    assert not (tmp_path / "run/unfinished.json").exists()
    with zipfile.ZipFile(tmp_path / "run/submission.zip") as archive:
        assert archive.namelist() == ["S0.txt", "S1.txt", "S2.txt"]
        for one in records:
            table = np.loadtxt(archive.open(f"{one['name']}.txt"), delimiter=",", ndmin=2)
            np.testing.assert_allclose(table, tracks[one["name"]].boxes[0], atol=0.00051)
    assert OPEEvaluator(name).evaluate_results(tmp_path / "run/submission.zip") == {}  # it is in order


def test_submissions_of_part_of_a_set_or_of_several_repetitions_are_refused(ope_set, tmp_path):
    _, tracks = sound_case()
    flat = write_flat(tmp_path / "flat", tracks)
    part = ope_set(hidden_records(), has_labels=False, whole_set=511)
    with pytest.raises(InputError, match="has 3 sequences here, but the server expects 511"):
        OPEEvaluator(part).evaluate_results(flat, submission=tmp_path / "a.zip")
    whole = ope_set(hidden_records(), has_labels=False, whole_set=3)
    for name, found in tracks.items():
        write_tracks(tmp_path / "twice", name, Tracks(*(np.concatenate([table, table + 0.5]) for table in found)))
    with pytest.raises(InputError, match="S0 has several repetitions; expected one"):
        OPEEvaluator(whole).evaluate_results(tmp_path / "twice", submission=tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()
