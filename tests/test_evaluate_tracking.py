"""evaluate.py on a tracker's folder: the table, the files, the submission, and what is told of wrong results."""

import functools
import json
import zipfile

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from load_script import load_script
from own_logging import own_logging
from PIL import Image
from track_sets import write_set

from stpn.data.builtin import ensure_registered, register
from stpn.data.datasets import load_got10k
from stpn.data.toy_layout import write_toy
from stpn.data.tracking_sets import TrackingEntry
from stpn.errors import run_script
from stpn.evaluation.tracker_names import tracker_names
from stpn.evaluation.tracking_files import write_tracks
from stpn.evaluation.tracking_metrics import Tracks

CASE = "vot/got10k_eval/c2_absent"
TINY = "got10k_mini_train"


@pytest.fixture
def evaluate(monkeypatch):
    """evaluate(*arguments) -> exit code. Whoever builds a torch module meanwhile fails."""
    script = load_script("projects/STPN/evaluate.py")

    def no_model(self, *args, **kwargs):
        raise AssertionError(f"{type(self).__name__} was built")

    def run(*arguments):
        with own_logging(), monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
            patch.setattr(torch.nn.Module, "__init__", no_model)
            run_script(lambda: script.main(list(map(str, arguments))))
        return end.value.code

    return run


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """-> folder of the results of a tracker on a set of two sequences, got10k_mini_train here."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "sets"))
    write_set(tmp_path / "sets/got10k_mini/train", [3, 4], pictures=False)
    ensure_registered([TINY])
    boxes = {record["name"]: record["boxes"] for record in DatasetCatalog.get(TINY)}
    for name, table in boxes.items():
        times = np.random.default_rng(len(table)).uniform(0.1, 0.2, (1, len(table)))
        write_tracks(tmp_path / "Mine", name, Tracks(table[None], times))
    return tmp_path / "Mine"


def test_the_toolkits_figures_are_printed_and_written(fixtures_dir, evaluate, monkeypatch, tmp_path, capsys):
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets/got10k").symlink_to(fixtures_dir / CASE / "data")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "sets"))
    expected = json.loads((fixtures_dir / CASE / "expected.json").read_text())["TrkB"]
    results = fixtures_dir / CASE / "results/GOT-10k/TrkB"
    assert evaluate("--dataset", "got10k_val", "--results", results, "--output", tmp_path / "out") == 0
    figures = json.loads((tmp_path / "out/got10k_metrics.json").read_text())
    assert figures["tracker"] == "TrkB" and figures["dataset"] == "got10k_val" and figures["repetitions"] == 1
    assert figures["overall"]["ao"] == pytest.approx(expected["overall"]["ao"], abs=1e-9)
    assert figures["overall"]["speed_fps"] == pytest.approx(expected["overall"]["speed_fps"], abs=1e-9)
    for name, sequence in expected["seq_wise"].items():
        assert figures["seq_wise"][name]["ao"] == pytest.approx(sequence["ao"], abs=1e-9)
    out = capsys.readouterr().out
    for name, score in [("all 6 sequences", expected["overall"]), *expected["seq_wise"].items()]:
        (row,) = [line for line in out.splitlines() if line.startswith(f"| {name} ")]
        assert f"{100 * score['ao']:.2f}" in row and f"{100 * score['sr']:.2f}" in row
    assert "copypaste: Task: got10k" in out
    assert Image.open(tmp_path / "out/got10k_success.png").format == "PNG"


def test_truth_as_results_has_an_ao_of_nearly_100_on_real_sequences(sample_data_dir, evaluate, monkeypatch, tmp_path,
                                                                    capsys):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(sample_data_dir))
    ensure_registered(["got10k_mini_val"])
    for record in DatasetCatalog.get("got10k_mini_val"):
        write_tracks(tmp_path / "Truth", record["name"], Tracks(record["boxes"][None], np.full(
            (1, record["video_length"]), 0.05)))
    assert evaluate("--dataset", "got10k_mini_val", "--results", tmp_path / "Truth") == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| all 3 sequences ")]
    frames, ao, sr50, sr75, fps = (float(cell) for cell in row.split("|")[2:7])
    assert frames == 64 + 60 + 49 - 3 and ao > 99.9 and (sr50, sr75, fps) == (100, 100, 20)


def test_everything_wrong_is_listed_and_one_line_ends_the_run(tiny, evaluate, capsys):
    (tiny / "S1/S1_time.txt").unlink()
    (tiny / "S2/S2_001.txt").write_text("1,2,3,4\nnan,2,3,4\n1,2,3,4\n1,2,3,4\n")
    (tiny / "S3").mkdir()
    assert evaluate("--dataset", TINY, "--results", tiny) == 2
    out, err = capsys.readouterr()
    for words in ("S3: is no sequence", "S1/S1_time.txt: is missing", "S2/S2_001.txt:2: has a number that is not"):
        assert sum(f"{tiny}: {words}" in line for line in out.splitlines()) == 1
    (line,) = err.strip().splitlines()
    assert line.startswith(f"error: {tiny}: S3: is no sequence") and "3 problems, all listed above" in line


def test_labels_that_are_wrong_are_told_with_their_line(tiny, evaluate, tmp_path, capsys):
    (tmp_path / "sets/got10k_mini/train/S2/groundtruth.txt").write_text("1,2,3,4\n1,2,3,4\n1,2,3\n1,2,3,4\n")
    assert evaluate("--dataset", TINY, "--results", tiny) == 2
    assert "S2/groundtruth.txt:3: has 3 columns; expected 4" in capsys.readouterr().err


def test_figures_of_an_earlier_run_stay_unless_asked(tiny, evaluate, tmp_path, capsys):
    arguments = ("--dataset", TINY, "--results", tiny, "--output", tmp_path / "out")
    assert evaluate(*arguments) == 0
    before = (tmp_path / "out/got10k_metrics.json").read_bytes()
    (tmp_path / "out/got10k_metrics.json").unlink()
    assert evaluate(*arguments) == 2 and "got10k_success.png exists already" in capsys.readouterr().err
    assert evaluate(*arguments, "--overwrite") == 0
    assert (tmp_path / "out/got10k_metrics.json").read_bytes() == before


@pytest.fixture
def hidden(tmp_path, monkeypatch):
    """-> name of a set of two sequences whose labels are hidden, and the folder of results on it."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "sets"))
    write_set(tmp_path / "sets/own/test", [1, 1], meta=False, absence=None, cover=None)
    for name in ("S1", "S2"):
        write_tracks(tmp_path / "Test", name, Tracks(np.ones((1, 1, 4)), np.ones((1, 1))))
    hidden = functools.partial(load_got10k, labelled=False)
    register("tracks_cli_test", TrackingEntry("own/test", hidden, ("own",), "test", 2))
    yield "tracks_cli_test", tmp_path / "Test"
    DatasetCatalog.remove("tracks_cli_test")
    MetadataCatalog.remove("tracks_cli_test")


def test_a_submission_is_written_of_the_test_part_alone(tiny, hidden, evaluate, tmp_path, capsys):
    assert evaluate("--dataset", TINY, "--results", tiny, "--zip", tmp_path / "a.zip") == 2
    assert f"the labels of {TINY} are here" in capsys.readouterr().err and not (tmp_path / "a.zip").exists()
    arguments = ("--dataset", hidden[0], "--results", hidden[1])
    assert evaluate(*arguments, "--zip", tmp_path / "a.zip") == 0
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == [f"S{n}/S{n}_{part}.txt" for n in (1, 2) for part in ("001", "time")]
    assert evaluate("--dataset", hidden[0], "--results", tmp_path / "a.zip") == 0
    assert f"2 sequences are in order for {hidden[0]}" in capsys.readouterr().out
    assert evaluate(*arguments, "--zip", tmp_path / "a.zip") == 2  # it is there
    assert evaluate(*arguments, "--output", tmp_path / "out") == 2
    assert "no figures to write; leave --output away" in capsys.readouterr().err


@pytest.mark.parametrize("option", [("--category-ids", "original"), ("--motion-table", "none"),
                                    ("--allow-empty-videos",)])
def test_options_for_other_results_are_refused(option, tiny, evaluate, capsys):
    assert evaluate("--dataset", TINY, "--results", tiny, *option) == 2
    assert f", but {TINY} has tracks; leave it away" in capsys.readouterr().err


def test_the_archive_is_refused_for_boxes(evaluate, capsys):
    assert evaluate("--dataset", "toy_vid_val", "--results", "a.json", "--zip", "a.zip") == 2
    assert "--zip is for tracks, but toy_vid_val has boxes" in capsys.readouterr().err



def compared(tiny):
    """-> folders of three trackers: Mine is the truth, others lie beside it."""
    boxes = {record["name"]: record["boxes"] for record in DatasetCatalog.get(TINY)}
    for folder, shift in (("Near", 1.0), ("Far", 9.0)):
        for name, table in boxes.items():
            times = np.random.default_rng(len(table) + int(shift)).uniform(0.1, 0.2, (1, len(table)))
            write_tracks(tiny.parent / folder, name, Tracks((table + [shift, 0, 0, 0])[None], times))
    return [tiny.parent / name for name in ("Far", "Mine", "Near")]


def test_several_trackers_come_in_one_table_and_one_plot(tiny, evaluate, tmp_path, capsys):
    folders = compared(tiny)
    arguments = [word for folder in folders for word in ("--results", folder)]
    assert evaluate("--dataset", TINY, *arguments, "--output", tmp_path / "out") == 0
    out = capsys.readouterr().out
    rows = [line.split("|")[1:3] for line in out.splitlines() if line.startswith("| ")][1:]
    assert [name.strip() for name, _ in rows] == ["Mine", "Near", "Far"] and "copypaste" not in out
    content = json.loads((tmp_path / "out/got10k_metrics.json").read_text())
    assert list(content["trackers"]) == ["Far", "Mine", "Near"] and content["sequences"] == 2
    for folder in folders:
        assert evaluate("--dataset", TINY, "--results", folder, "--output", tmp_path / folder.name) == 0
        alone = json.loads((tmp_path / folder.name / "got10k_metrics.json").read_text())
        assert {key: alone[key] for key in ("overall", "seq_wise")} == content["trackers"][folder.name]
        assert f"{100 * alone['overall']['ao']:.2f}" in {name.strip(): ao for name, ao in rows}[folder.name]
    picture = np.asarray(Image.open(tmp_path / "out/got10k_success.png").convert("RGB")).astype(int)
    alone = np.asarray(Image.open(tmp_path / "Mine/got10k_success.png").convert("RGB")).astype(int)
    vivid = [len({tuple(color) for color in image[np.ptp(image, axis=2) > 120]}) for image in (picture, alone)]
    assert vivid[0] > vivid[1]  # more curves, more colours


def test_faults_of_one_of_several_trackers_end_the_run(tiny, evaluate, tmp_path, capsys):
    far, mine, near = compared(tiny)
    (near / "S1/S1_time.txt").unlink()
    assert evaluate("--dataset", TINY, "--results", mine, "--results", near, "--output", tmp_path / "out") == 2
    assert f"error: {near}: S1/S1_time.txt: is missing" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.png"))
    assert evaluate("--dataset", TINY, "--results", mine, "--results", mine) == 2
    assert "is given twice" in capsys.readouterr().err
    assert evaluate("--dataset", TINY, "--results", mine, "--results", far, "--zip", tmp_path / "a.zip") == 2
    assert "--results is given 2 times; expected once" in capsys.readouterr().err


def test_several_results_are_refused_for_boxes(evaluate, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    write_toy(tmp_path / "toy_vid", split="val", videos=1, seed=0)
    assert evaluate("--dataset", "toy_vid_val", "--results", "a.json", "--results", "b.json") == 2
    assert "--results is given 2 times" in capsys.readouterr().err


@pytest.mark.parametrize("paths, names", [
    (["a/TrkA", "b/TrkB.zip"], ["TrkA", "TrkB"]),
    (["a/inference/set/tracks", "b/inference/set/tracks"], ["a", "b"]),
    (["x/a/tracks", "x/b/tracks"], ["a", "b"]),
    (["x/a/inference/my/val/tracks", "y/a/inference/my/val/tracks"], ["x", "y"]),
    (["a/inference/my/val/tracks"], ["a"]),
    (["b/tracks", "TrkA"], ["b", "TrkA"]),
    (["a/TrkA", "x/a/set/tracks", "x/b/set/tracks"], ["TrkA", "a", "b"]),
])
def test_trackers_are_called_what_their_paths_differ_in(tmp_path, monkeypatch, paths, names):
    monkeypatch.chdir(tmp_path)
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch() if path.endswith(".zip") else (tmp_path / path).mkdir(exist_ok=True)
    assert tracker_names(paths) == dict(zip(names, paths))


def test_lasot_results_in_flat_files_are_evaluated(evaluate, tmp_path, monkeypatch, capsys):
    """In LaSOT's layout: the frame that is out of view does not count."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    place = tmp_path / "lasot/dog/dog-1"
    (place / "img").mkdir(parents=True)
    (tmp_path / "lasot/testing_set.txt").write_text("dog-1\n")
    for number in (1, 2, 3, 4):
        Image.new("RGB", (64, 48)).save(place / f"img/{number:08d}.jpg")
    (place / "groundtruth.txt").write_text("10,10,20,20\n" * 4)
    (place / "full_occlusion.txt").write_text("0,0,0,0\n")
    (place / "out_of_view.txt").write_text("0,0,1,0\n")
    (tmp_path / "Mine").mkdir()
    (tmp_path / "Mine/dog-1.txt").write_text("10,10,20,20\n10,10,20,20\n0,0,1,1\n40,10,20,20\n")
    assert evaluate("--dataset", "lasot_test", "--results", tmp_path / "Mine", "--output", tmp_path / "out") == 0
    overall = json.loads((tmp_path / "out/ope_metrics.json").read_text())["overall"]
    assert overall["frames"] == 3 and overall["precision_20px"] == pytest.approx(2 / 3)
    assert overall["success_auc"] == pytest.approx(2 / 3 * 20 / 21)
    assert "copypaste: Task: ope" in capsys.readouterr().out
