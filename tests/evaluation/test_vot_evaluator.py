"""The evaluator of single-object tracking: an output a sequence, files as it goes, figures equal to those of
the files."""

import json

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils import comm
from PIL import Image
from track_sets import write_set

from stpn.data import builtin
from stpn.data.tracking_sets import TrackingEntry
from stpn.errors import InputError
from stpn.evaluation import GOT10kEvaluator
from stpn.evaluation.tracking_metrics import Score
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
        for part in ("val", "test"):
            builtin.register(f"tracks_test_{part}", TrackingEntry("tracks", part, ("tracks",)))
        builtin.register("tracks_test_part", TrackingEntry("tracks", "test", ("tracks",), 180))
        yield root
    for part in ("val", "test", "part"):
        DatasetCatalog.remove(f"tracks_test_{part}")
        MetadataCatalog.remove(f"tracks_test_{part}")


def outputs(seed=0, *, part="val"):
    rng = np.random.default_rng(seed)
    return [({"video_id": f"tracks/{part}/S{n}"},
             {"boxes": rng.uniform(1, 40, (length, 4)), "times": rng.uniform(0.01, 0.1, length)})
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
    process(evaluator, pairs[1:])
    figures = evaluator.evaluate()
    again = GOT10kEvaluator("tracks_test_val", output_folder=tmp_path / "again").evaluate_results(tmp_path / "tracks")
    assert figures == again and 0 < figures["got10k"]["AO"] < 100
    first, second = (json.loads((folder / "got10k_metrics.json").read_text()) for folder in
                     (tmp_path, tmp_path / "again"))
    assert first.pop("tracker") == "tracker" and second.pop("tracker") == "tracks" and first == second
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
    monkeypatch.setattr(comm, "gather", lambda own, dst: [shard._tracks for shard in shards])
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
