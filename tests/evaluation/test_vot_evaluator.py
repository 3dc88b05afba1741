"""The evaluator of single-object tracking: an output a sequence, files as it goes, figures equal to those of
the files."""

import functools
import json
import math

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils import comm
from PIL import Image
from track_sets import write_set

from stpn.data import builtin
from stpn.data.datasets import load_got10k
from stpn.data.tracking_sets import TrackingEntry
from stpn.errors import InputError, PartialResult
from stpn.evaluation import GOT10kEvaluator
from stpn.evaluation.tracking_metrics import Score
from stpn.evaluation.tracking_report import best_first
from stpn.evaluation.tracking_results import opened, read_tracks

LENGTHS = [4, 3, 5]


@pytest.fixture(scope="module", autouse=True)
def sets(tmp_path_factory):
    """tracks_test_val, with labels, and tracks_test_test, of which only the first boxes are known; tracks_test_part is
    the same, as a part of 180 sequences."""
    root = tmp_path_factory.mktemp("datasets")
    write_set(root / "tracks/val", LENGTHS, pictures=False)
    write_set(root / "tracks/test", LENGTHS, absence=None, cover=None, meta=False)
    for file in (root / "tracks/test").glob("*/groundtruth.txt"):
        file.write_text(file.read_text().splitlines()[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(root))
        hidden = functools.partial(load_got10k, labelled=False)
        builtin.register("tracks_test_val", TrackingEntry("tracks/val", load_got10k, ("tracks",), "val"))
        builtin.register("tracks_test_test", TrackingEntry("tracks/test", hidden, ("tracks",), "test"))
        builtin.register("tracks_test_part", TrackingEntry("tracks/test", hidden, ("tracks",), "test", 180))
        yield root
    for part in ("val", "test", "part"):
        DatasetCatalog.remove(f"tracks_test_{part}")
        MetadataCatalog.remove(f"tracks_test_{part}")


def outputs(seed=0, *, part="val"):
    rng = np.random.default_rng(seed)
    return [({"video_id": f"tracks/{part}/S{n}"},
             {"boxes": rng.uniform(1, 40, (length, 4)), "times": rng.uniform(0.01, 0.1, length),
              "scores": rng.random(length)})
            for n, length in enumerate(LENGTHS, 1)]


def process(evaluator, pairs):
    for sample, output in pairs:
        evaluator.process([sample], [output])


def test_the_figures_are_those_of_the_files_written_on_the_way(tmp_path):
    evaluator = GOT10kEvaluator("tracks_test_val", output_folder=tmp_path)
    evaluator.reset()
    pairs = outputs()
    process(evaluator, pairs[:1])
    assert [folder.name for folder in (tmp_path / "tracks").iterdir()] == ["S1"]  # at once
    np.testing.assert_allclose(np.loadtxt(tmp_path / "scores/S1.txt"), pairs[0][1]["scores"], atol=1e-6)
    process(evaluator, pairs[1:])
    figures = evaluator.evaluate()
    again = GOT10kEvaluator("tracks_test_val", output_folder=tmp_path / "again").evaluate_results(tmp_path / "tracks")
    assert figures == again and 0 < figures["got10k"]["AO"] < 100
    first, second = (json.loads((folder / "got10k_metrics.json").read_text()) for folder in
                     (tmp_path, tmp_path / "again"))
    assert first.pop("tracker") == "tracker" and second.pop("tracker") == tmp_path.name
    rates = [content.pop("frames_per_second") for content in (first, second)]
    assert rates[0]["model_only"] == rates[1]["model_only"] and rates[1]["end_to_end"] is None
    assert first == second
    assert first["overall"]["ao"] * 100 == figures["got10k"]["AO"] and first["sequences"] == 3
    assert first["overall"]["sr_0.75"] == first["overall"]["succ_curve"][75] and set(first["seq_wise"]) == {
        "S1", "S2", "S3"}


def test_shards_of_several_processes_make_one_result(monkeypatch):
    pairs, whole = outputs(), GOT10kEvaluator("tracks_test_val")
    process(whole, pairs)
    shards = [GOT10kEvaluator("tracks_test_val") for _ in range(2)]
    process(shards[0], pairs[2:])
    process(shards[1], pairs[:2])
    expected = whole.evaluate()
    monkeypatch.setattr(comm, "gather", lambda own, dst: [(shard._tracks, shard._measured) for shard in shards])
    assert shards[0].evaluate() == expected
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    assert shards[1].evaluate() == {}


def test_each_sequence_must_come_once(caplog):
    evaluator = GOT10kEvaluator("tracks_test_val")
    process(evaluator, [*outputs()[:1], *outputs()[:2]])
    with pytest.raises(InputError, match=r"tracks/val/S1 was tracked 2 times; expected once \(2 problems"):
        evaluator.evaluate()
    assert "tracks/val/S3 was tracked 0 times" in caplog.text


def changed(**values):
    ((sample, output), *_) = outputs()
    return [({**sample, **{k: v for k, v in values.items() if k in sample}},
             {**output, **{k: v for k, v in values.items() if k in output}})]


@pytest.mark.parametrize("values, told", [
    ({"video_id": "tracks/val/S9"}, "tracks/val/S9 is not in tracks_test_val"),
    ({"boxes": np.ones((3, 4))}, r"got boxes of shape \(3, 4\).*each of 4 frames"),
    ({"times": np.ones(5)}, r"times of shape \(5,\)"),
    ({"scores": np.ones(3)}, r"scores of shape \(3,\)"),
    ({"boxes": np.diag([1, 1, np.nan, 1])}, "the box of frame 2 is not finite"),
])  # fmt: skip
def test_outputs_that_cannot_be_used_are_refused_at_once(values, told):
    with pytest.raises(InputError, match=told):
        process(GOT10kEvaluator("tracks_test_val"), changed(**values))


def test_hidden_labels_give_a_submission_instead_of_figures(tmp_path, caplog):
    evaluator = GOT10kEvaluator("tracks_test_test", output_folder=tmp_path)
    process(evaluator, outputs(part="test"))
    assert evaluator.evaluate() == {} and "NO FIGURES" in caplog.text
    records = DatasetCatalog.get("tracks_test_test")
    with opened(tmp_path / "submission.zip") as root:
        assert list(read_tracks(root, records, where="zip")) == ["S1", "S2", "S3"]
    assert not (tmp_path / "got10k_metrics.json").exists()


def test_a_submission_of_part_of_the_official_set_is_refused(tmp_path):
    evaluator = GOT10kEvaluator("tracks_test_test", output_folder=tmp_path)
    process(evaluator, outputs(part="test"))
    with pytest.raises(InputError, match="has 3 sequences here, but the server expects 180"):
        GOT10kEvaluator("tracks_test_part").evaluate_results(tmp_path / "tracks", submission=tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_of_part_of_the_official_set_tracks_are_kept_for_when_the_rest_is_there(tmp_path, caplog):
    evaluator = GOT10kEvaluator("tracks_test_part", output_folder=tmp_path)
    told = "tracks_test_part has 3 sequences here, but the server expects 180"
    assert evaluator.resume({"parameters": "a"}) == frozenset()
    assert f"{told}: there will be no submission" in caplog.text  # before anything is tracked
    evaluator.reset()
    process(evaluator, outputs(part="test"))
    with pytest.raises(PartialResult, match=f"no submission: {told}; tracks of these are in {tmp_path}/tracks; "):
        evaluator.evaluate()
    assert len(list((tmp_path / "tracks").iterdir())) == 3 and not (tmp_path / "submission.zip").exists()
    again = GOT10kEvaluator("tracks_test_part", output_folder=tmp_path)
    assert again.resume({"parameters": "a"}) == {f"tracks/test/S{number}" for number in (1, 2, 3)}
    whole = GOT10kEvaluator("tracks_test_test", output_folder=tmp_path / "whole")
    caplog.clear()
    whole.resume({"parameters": "a"})
    assert whole.lacking is None and "no submission" not in caplog.text


def test_what_is_odd_in_results_is_warned_of(tmp_path, caplog):
    evaluator = GOT10kEvaluator("tracks_test_val", output_folder=tmp_path)
    process(evaluator, [(sample, {**output, "boxes": np.full_like(output["boxes"], 60)})
                        for sample, output in outputs()])
    evaluator.evaluate_results(tmp_path / "tracks")
    for words in ("all boxes are whole numbers", "in 3 sequences such as S1 the first box is not the given one"):
        assert words in caplog.text
    caplog.clear()
    records = {record["video_id"]: record for record in DatasetCatalog.get("tracks_test_val")}
    process(evaluator, [(sample, {**output, "boxes": records[sample["video_id"]]["boxes"]})
                        for sample, output in outputs()])
    evaluator.evaluate_results(tmp_path / "tracks")
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_the_success_plot_shows_the_curve(tmp_path):
    from stpn.evaluation.success_plot import write_success_plot

    def drawn(name, level, tracker="a_$b$"):
        score = Score(level, level, level, 1.0, np.full(101, level), 9)
        write_success_plot(tmp_path / name, {tracker: score}, dataset="x")
        return np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(int)

    low, high = drawn("a.png", 0.7), drawn("b.png", 0.9)
    # The line is the only blue thing in the right half, where the legend is not.
    rows = [np.flatnonzero((image[:, -200] - image[:, -200].min(1, keepdims=True)).max(1) > 90).mean()
            for image in (low, high)]
    height = low.shape[0]
    assert rows[1] < rows[0] < height and 0.1 < (rows[0] - rows[1]) / height < 0.25  # 0.2 of an axis of 0.8 the height
    assert not list(tmp_path.glob("*.tmp*"))


def test_groups_of_frames_have_figures_of_their_own_in_results_and_files(sets, tmp_path):
    groups = {"clean": {"S1": [0, 1], "S3": [1, 2, 3]}, "deteriorated": {"S1": [2, 3], "S3": [4]}, "dark": {"S2": [0]}}
    write_set(sets / "tracks/grouped", LENGTHS, pictures=False, seed=2)
    (sets / "tracks/grouped/groups.json").write_text(json.dumps(groups))
    builtin.ensure_registered(["tracks/grouped"])
    records = {record["name"]: record for record in DatasetCatalog.get("tracks/grouped")}
    # The truth in clean frames, nothing of it elsewhere.
    pairs = outputs(part="grouped")
    for sample, output in pairs:
        name = sample["video_id"][-2:]
        clean = np.isin(np.arange(len(output["boxes"])), groups["clean"].get(name, []))
        output["boxes"] = np.where(clean[:, None], records[name]["boxes"], [63, 47, 0.5, 0.5])
    evaluator = GOT10kEvaluator("tracks/grouped", output_folder=tmp_path)
    process(evaluator, pairs)
    figures = evaluator.evaluate()["got10k"]
    assert figures["AO-clean"] > 99.9 and figures["SR0.75-clean"] == 100
    assert figures["AO-deteriorated"] < 1 and figures["SR0.5-deteriorated"] == 0 and math.isnan(figures["AO-dark"])
    assert [name for name in figures if "-" not in name] == ["AO", "SR0.5", "SR0.75", "fps"]
    assert evaluator.evaluate_results(tmp_path / "tracks")["got10k"] == pytest.approx(figures, nan_ok=True)
    content = json.loads((tmp_path / "got10k_metrics.json").read_text())
    counting = sum(records[name]["cover"][t] > 0 for name, frames in groups["clean"].items() for t in frames if t)
    assert content["groups"]["clean"]["frames"] == counting and content["groups"]["dark"]["ao"] is None


def test_sequences_of_one_frame_leave_every_figure_as_it_is(tmp_path):
    write_set(tmp_path / "tracks/with", [4, 1, 5], pictures=False)
    write_set(tmp_path / "tracks/only", [1, 1], pictures=False)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(tmp_path))
        builtin.ensure_registered(["tracks/with", "tracks/only"])
        (tmp_path / "tracks/without").mkdir()
        (tmp_path / "tracks/without/list.txt").write_text("S1\nS3\n")
        for name in ("S1", "S3"):
            (tmp_path / "tracks/without" / name).symlink_to(tmp_path / "tracks/with" / name)
        builtin.ensure_registered(["tracks/without"])
        for name in ("with", "without", "only"):
            evaluator = GOT10kEvaluator(f"tracks/{name}", output_folder=tmp_path / name)
            for record in DatasetCatalog.get(f"tracks/{name}"):
                times = np.full(len(record["boxes"]), np.nan if len(record["boxes"]) == 1 else 0.1)
                evaluator.process([record], [{"boxes": record["boxes"] + 1, "times": times, "scores": times}])
            found[name] = evaluator.evaluate()["got10k"]
            again = GOT10kEvaluator(f"tracks/{name}").evaluate_results(tmp_path / name / "tracks")["got10k"]
            assert again == pytest.approx(found[name], nan_ok=True)
    for name in ("with", "without", "only"):
        DatasetCatalog.remove(f"tracks/{name}")
        MetadataCatalog.remove(f"tracks/{name}")
    assert found["with"] == found["without"] and 0 < found["with"]["AO"] < 100
    assert all(math.isnan(value) for value in found["only"].values())
    assert Image.open(tmp_path / "only/got10k_success.png").format == "PNG"


def test_both_speeds_are_frames_by_seconds_of_the_tracker_and_of_everything(tmp_path, caplog, monkeypatch):
    from stpn.evaluation import track_evaluator

    caplog.set_level("INFO")
    clock = iter([0.0, 0.0, 2.0, 3.0, 5.0, 7.0, 10.0, 99.0])  # made, reset; then each sequence: comes in, is written
    monkeypatch.setattr(track_evaluator.time, "perf_counter", lambda: next(clock))
    evaluator = GOT10kEvaluator("tracks_test_val", output_folder=tmp_path)
    evaluator.reset()
    process(evaluator, [(sample, {**output, "times": np.full(len(output["boxes"]), 0.02 * len(output["boxes"]))})
                        for sample, output in outputs()])
    evaluator.evaluate()
    rates = json.loads((tmp_path / "got10k_metrics.json").read_text())["frames_per_second"]
    assert rates["model_only"] == pytest.approx(12 / (0.02 * (16 + 9 + 25)))
    assert rates["end_to_end"] == pytest.approx(12 / (2 + 2 + 3))  # writing the files does not count
    assert "model only 12.0 frames/s" in caplog.text and "end to end 1.7 frames/s" in caplog.text
    (line,) = [line for line in caplog.messages if line.startswith("tracker on tracks_test_val: AO ")]
    assert "SR0.5" in line and "SR0.75" in line and "(3 sequences, " in line


def test_several_trackers_have_a_curve_each_and_the_best_is_named_first(tmp_path):
    from stpn.evaluation.success_plot import write_success_plot

    def columns(scores):
        write_success_plot(tmp_path / "a.png", scores, dataset="x")
        image = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
        area = image[:, -200:-100].reshape(-1, 3)  # right of the legend
        colors, counts = np.unique(area[np.ptp(area, axis=1) > 60], axis=0, return_counts=True)
        return sum(counts > 20)  # less are mixed with the background

    scores = {name: Score(level, level, level, 1.0, np.full(101, level), 9)
              for name, level in (("low", 0.3), ("high", 0.9), ("middle", 0.6), ("undefined", math.nan))}
    assert columns({"low": scores["low"]}) == 1 and columns(scores) == 3
    assert [name for name, _ in best_first(scores)] == ["high", "middle", "low", "undefined"]
    assert columns(dict.fromkeys("abcdef", scores["middle"])) == 6  # curves that lie on each other
