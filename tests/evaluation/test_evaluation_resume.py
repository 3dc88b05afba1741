"""An evaluation that was interrupted goes on where it stopped: what is done does not pass the model again, the figures
are those of one that nothing interrupted, and nothing of another model, configuration or data set is taken up."""

import functools
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils import comm
from track_sets import write_sequence, write_set

from stpn.config import add_stpn_config
from stpn.data.builtin import register
from stpn.data.datasets import load_got10k
from stpn.data.tracking_sets import TrackingEntry
from stpn.engine import fingerprint, trainer
from stpn.engine.fingerprint import evaluation_fingerprint
from stpn.engine.trainer import Trainer
from stpn.errors import InputError, PartialResult
from stpn.evaluation import GOT10kEvaluator, progress

LENGTHS, NAME = [4, 1, 5, 3], "tracks_resume"


class Follower(torch.nn.Module):
    """A tracker whose boxes depend on its parameter; the key Control-C comes before sequence number `stop`."""

    def __init__(self, shift=1.0, stop=None):
        super().__init__()
        self.shift, self.stop, self.seen = torch.nn.Parameter(torch.tensor(shift)), stop, []

    def forward(self, batch):
        return [self._follow(sample) for sample in batch]

    def _follow(self, sample):
        if self.stop == len(self.seen):
            raise KeyboardInterrupt
        self.seen.append(sample["name"])
        steps = np.arange(sample["length"])
        boxes = np.array(sample["box"]) + steps[:, None] * self.shift.item() * [0.3, 0.2, 0.1, 0]
        return {"boxes": boxes, "times": (1 + steps) * 0.01, "scores": 1 / (1 + steps)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """OUTPUT_DIR of evaluations of a set of four sequences."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "sets"))
    write_set(tmp_path / "sets/tracks/val", LENGTHS)
    register(NAME, TrackingEntry("tracks/val", load_got10k, ("tracks",), "val"))
    yield tmp_path / "out"
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def get_config():
    cfg = get_cfg()
    add_stpn_config(cfg)
    return cfg


def evaluate(folder, model, *options):
    """As train_net.py --eval-only does it -> figures, None where it was interrupted."""
    cfg = get_config()
    cfg.merge_from_list(["OUTPUT_DIR", str(folder), "DATASETS.TEST", (NAME,), "MODEL.DEVICE", "cpu",
                         "MODEL.META_ARCHITECTURE", "VideoObjectTracker", *options])
    try:
        return Trainer.test(cfg, model)
    except KeyboardInterrupt:
        return None


def results(folder):
    return folder / "inference" / NAME


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(results(folder).rglob("*.txt"))}


@pytest.fixture
def interrupted(folder):
    """The same folder with two sequences done."""
    assert evaluate(folder, Follower(stop=2)) is None
    assert (results(folder) / "unfinished.json").is_file()
    return folder


def test_only_what_is_not_done_passes_the_model_and_the_figures_are_the_same(interrupted, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    model = Follower()
    figures = evaluate(interrupted, model)
    assert model.seen == ["S3", "S4"] and "2 of 4 sequences were tracked before" in caplog.text
    assert "the pictures themselves are not compared" in caplog.text
    assert "over the 8 frames tracked in this run" in caplog.text  # the times of the others are not those of this run
    whole = Follower()
    expected = evaluate(tmp_path / "whole", whole)
    assert whole.seen == ["S1", "S2", "S3", "S4"] and figures == expected and 0 < figures["got10k"]["AO"] < 100
    first, second = (json.loads((results(place) / "got10k_metrics.json").read_text()) for place in
                     (interrupted, tmp_path / "whole"))
    for content in (first, second):
        content["frames_per_second"].pop("end_to_end")
    assert first == second
    again = {name.replace("whole/", "out/"): content for name, content in files(tmp_path / "whole").items()}
    assert files(interrupted) == again and not (results(interrupted) / "unfinished.json").exists()


def test_a_complete_evaluation_is_made_again_in_full(folder):
    first = evaluate(folder, Follower())
    model = Follower()
    assert evaluate(folder, model) == first and len(model.seen) == 4


def test_one_that_had_only_the_figures_left_to_write_needs_no_model(interrupted, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(GOT10kEvaluator, "_figures", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        assert evaluate(interrupted, Follower()) is None
    model = Follower()
    assert evaluate(interrupted, model) == evaluate(tmp_path / "whole", Follower()) and model.seen == []


def other_set(folder, *, corrected=(), names=None):
    """The set of another day: labels of sequences corrected, and another list."""
    place = folder.parent / "sets/tracks/val"
    for name in corrected:
        path = place / name / "groundtruth.txt"
        path.write_text(path.read_text().replace("1", "2", 1))
    if names:
        (place / "list.txt").write_text("".join(f"{name}\n" for name in names))
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)
    register(NAME, TrackingEntry("tracks/val", load_got10k, ("tracks",), "val"))


@pytest.mark.parametrize("corrected, names, tracked", [
    (["S2"], None, ["S2", "S3", "S4"]), (["S3"], None, ["S3", "S4"]), (["S1", "S2", "S3", "S4"], None, None),
    ([], ["S4", "S2", "S3"], ["S4", "S3"]),  # S1 was tracked, and is not asked for any more
])
def test_sequences_that_were_corrected_are_tracked_again_and_the_others_keep_their_tracks(
        interrupted, tmp_path, caplog, corrected, names, tracked):
    names = names or ["S1", "S2", "S3", "S4"]
    other_set(interrupted, corrected=corrected, names=names)
    model = Follower()
    figures = evaluate(interrupted, model)
    assert model.seen == (tracked or names) and figures == evaluate(tmp_path / "whole", Follower())
    assert "have other labels than when the evaluation was interrupted" in caplog.text
    places = {path.name for path in (results(interrupted) / "tracks").iterdir()}
    assert places == set(names) == {path.stem for path in (results(interrupted) / "scores").iterdir()}


def test_sequences_that_were_added_are_the_only_ones_tracked(interrupted, tmp_path):
    evaluation = evaluate(interrupted, Follower(stop=1))
    assert evaluation is None  # S3 is done, too
    write_sequence(interrupted.parent / "sets/tracks/val/S0", np.full((4, 4), 9.0))
    other_set(interrupted, names=["S0", "S1", "S2", "S3", "S4"])
    model = Follower()
    assert evaluate(interrupted, model) == evaluate(tmp_path / "whole", Follower()) and model.seen == ["S0", "S4"]


def test_one_killed_while_it_drops_tracks_of_other_labels_takes_none_of_them_the_next_time(interrupted, monkeypatch):
    other_set(interrupted, corrected=["S1"])
    with monkeypatch.context() as patch:
        patch.setattr(progress, "read_finished", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        assert evaluate(interrupted, Follower()) is None
    model = Follower()
    evaluate(interrupted, model)
    assert model.seen == ["S1", "S3", "S4"]


@pytest.mark.parametrize("finished", [True, False])
def test_figures_and_submissions_of_an_earlier_evaluation_do_not_stay_beside_other_tracks(folder, caplog, finished):
    caplog.set_level(logging.INFO)
    if finished:
        evaluate(folder, Follower())
        assert (results(folder) / "got10k_metrics.json").is_file()
    results(folder).mkdir(parents=True, exist_ok=True)
    (results(folder) / "submission.zip").write_bytes(b"x")
    (results(folder) / "mine.json").write_text("{}")
    assert "its tracks and figures are replaced" not in caplog.text
    assert evaluate(folder, Follower(stop=1)) is None
    assert {path.name for path in results(folder).iterdir()} == {"unfinished.json", "tracks", "scores", "mine.json"}
    assert caplog.text.count(f"{results(folder)} holds a finished evaluation; its tracks and figures are "
                             "replaced") == finished


def changed_program(folder):
    """A copy of two files of the package, one with a line more."""
    package = folder / "package"
    package.mkdir()
    for name in ("crops.py", "errors.py"):
        shutil.copy(fingerprint.PACKAGE / name, package)
    return package


def test_the_programs_digest_sees_changes_new_files_and_names_but_no_other_files(tmp_path):
    package = changed_program(tmp_path)
    seen = [fingerprint.program_digest(package)]
    (package / "notes.md").write_text("x")
    (package / "__pycache__").mkdir()
    (package / "__pycache__/crops.cpython-310.pyc").write_bytes(b"x")
    assert fingerprint.program_digest(package) == seen[0]
    (package / "crops.py").write_text((package / "crops.py").read_text() + "\n")
    seen.append(fingerprint.program_digest(package))
    (package / "deeper").mkdir()
    (package / "deeper/new.py").write_text("")
    seen.append(fingerprint.program_digest(package))
    (package / "deeper/new.py").rename(package / "new.py")
    seen.append(fingerprint.program_digest(package))
    assert len(set(seen)) == 4


def test_a_file_among_the_folders_of_sequences_stays(folder, monkeypatch):
    """Before Python 3.11 the pattern "*/" finds files too."""
    note = results(folder) / "tracks/notes.md"
    note.parent.mkdir(parents=True)
    note.write_text("x")
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: glob(self, pattern.rstrip("/")))
    assert evaluate(folder, Follower()) and note.read_text() == "x"


@pytest.mark.parametrize("what, options, model", [
    ("parameters", (), Follower(1.5)), ("configuration", ("TEST.TRACKING.UPDATE_INTERVAL", 7), Follower()),
    ("program", (), Follower()), ("folder of the pictures", (), Follower())])
def test_with_anything_else_it_starts_afresh_and_says_why(interrupted, tmp_path, monkeypatch, caplog, what, options,
                                                          model):
    if what == "program":
        monkeypatch.setattr(fingerprint, "PACKAGE", changed_program(tmp_path))
    if what == "folder of the pictures":
        monkeypatch.setenv("DETECTRON2_DATASETS", str(shutil.copytree(tmp_path / "sets", tmp_path / "moved")))
    model.seen.clear()
    model.stop = 1
    assert evaluate(interrupted, model, *options) is None and model.seen == ["S1"]
    assert f"had other {what}; this one starts afresh" in caplog.text
    # What the first one left is gone: a third must not take S2 of the first for one of the second.
    assert {path.name for path in (results(interrupted) / "tracks").iterdir()} == {"S1"}
    assert {path.name for path in (results(interrupted) / "scores").iterdir()} == {"S1.txt"}
    third = Follower(model.shift.item())
    assert evaluate(interrupted, third, *options) == evaluate(tmp_path / "whole", Follower(model.shift.item()))
    assert third.seen == ["S2", "S3", "S4"]


def test_where_the_weights_lie_and_how_often_is_evaluated_does_not_matter(interrupted):
    model = Follower()
    evaluate(interrupted, model, "MODEL.WEIGHTS", "elsewhere.pth", "TEST.EVAL_PERIOD", 5, "SOLVER.MAX_ITER", 9)
    assert model.seen == ["S3", "S4"]


def test_a_part_of_a_set_with_hidden_labels_costs_no_figures_of_other_sets_and_no_training(folder):
    hidden = functools.partial(load_got10k, labelled=False)
    register("tracks_part", TrackingEntry("tracks/val", hidden, ("tracks",), "val", 180, labelled=False))
    try:
        with pytest.raises(PartialResult, match="no submission: tracks_part has 4 sequences here"):
            evaluate(folder, Follower(), "DATASETS.TEST", ("tracks_part", NAME))
        assert (results(folder) / "got10k_metrics.json").is_file()
        assert len(list((folder / "inference/tracks_part/tracks").iterdir())) == 4
        with pytest.raises(InputError, match="tracks_part has 4 .* take it out of DATASETS.TEST while training"):
            trainer._refuse_lacking(GOT10kEvaluator("tracks_part"))
        trainer._refuse_lacking(GOT10kEvaluator(NAME))
    finally:
        DatasetCatalog.remove("tracks_part")
        MetadataCatalog.remove("tracks_part")


TORN = {
    "half of the boxes": lambda at: (at / "tracks/S1/S1_001.txt").write_text("1,2,3,4\n1,2"),
    "no times": lambda at: (at / "tracks/S1/S1_time.txt").unlink(),
    "killed while writing": lambda at: (at / "tracks/S1/S1_001.txt").rename(at / "tracks/S1/S1_001.tmp.txt"),
    "an empty folder": lambda at: [path.unlink() for path in (at / "tracks/S1").iterdir()],
    "no scores": lambda at: (at / "scores/S1.txt").unlink(),
}


@pytest.mark.parametrize("kind", TORN)
def test_torn_files_are_not_taken(interrupted, tmp_path, kind):
    TORN[kind](results(interrupted))
    model = Follower()
    assert evaluate(interrupted, model) == evaluate(tmp_path / "whole", Follower())
    assert model.seen == ["S1", "S3", "S4"]
    assert not list(results(interrupted).rglob("*.tmp*"))


def test_an_unreadable_mark_starts_afresh(interrupted, caplog):
    (results(interrupted) / "unfinished.json").write_bytes(b"\xff{")
    model = Follower()
    evaluate(interrupted, model)
    assert len(model.seen) == 4 and "had other parameters and configuration and program and folder" in caplog.text


def test_what_a_user_put_there_stays(folder):
    notes = [results(folder) / name for name in ("tracks/S1/notes.md", "tracks/mine/a.txt", "scores/x.csv")]
    for note in notes:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text("x")
    evaluate(folder, Follower())
    assert all(note.read_text() == "x" for note in notes)


def test_all_processes_leave_out_what_the_main_one_found(interrupted, monkeypatch):
    """One process tracks S3, the other S4; the second has no files, as on another machine."""
    main, other = (GOT10kEvaluator(NAME, output_folder=place) for place in (results(interrupted), None))
    digest = json.loads((results(interrupted) / "unfinished.json").read_text())
    own = {key: digest[key] for key in ("parameters", "configuration", "program")}
    told = []
    with monkeypatch.context() as patch:
        patch.setattr(comm, "all_gather", lambda ids: told.append(ids) or [told[0]] * 2)
        done = main.resume(own)
        patch.setattr(comm, "is_main_process", lambda: False)
        assert other.resume(own) == done == {"tracks/val/S1", "tracks/val/S2"}
    for evaluator, names in ((main, ["S3"]), (other, ["S4"])):
        evaluator.reset()
        for name in names:
            sample = next({**record, "box": record["boxes"][0], "length": record["video_length"]}
                          for record in DatasetCatalog.get(NAME) if record["name"] == name)
            evaluator.process([sample], Follower()([sample]))
    monkeypatch.setattr(comm, "gather", lambda own, dst: [(one._tracks, one._measured) for one in (main, other)])
    figures = main.evaluate()
    assert figures == evaluate(interrupted.parent / "whole", Follower())


def test_the_parameters_digest_sees_one_bit_and_buffers_but_not_the_wrapper_of_several_processes():
    cfg, model = get_config(), torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))

    def digest():
        return evaluation_fingerprint(cfg, model)["parameters"]

    first, wrapped = digest(), torch.nn.Module()
    wrapped.module = model
    assert evaluation_fingerprint(cfg, wrapped)["parameters"] == first
    for value in (model[0].weight.data, model[1].running_mean):
        kept = value.clone()
        value.view(-1)[0] = torch.nextafter(value.view(-1)[0], torch.tensor(9.0))
        assert digest() != first
        value.copy_(kept)
    assert digest() == first
