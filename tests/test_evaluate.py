"""evaluate.py from command line to figures: those that the evaluator printed and wrote when it had the model."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.structures import Boxes, Instances
from detectron2.utils.logger import setup_logger
from load_script import load_script
from PIL import Image
from plain_sets import pictures, write_folder, write_json

from stpn.data.toy_layout import write_toy
from stpn.errors import run_script
from stpn.evaluation import ImageNetVIDEvaluator

SCRIPT = Path(__file__).resolve().parents[1] / "projects" / "STPN" / "evaluate.py"
DATASET = "toy_vid_val"


@pytest.fixture(scope="module", autouse=True)
def toy(tmp_path_factory):
    """toy_vid_val: two videos of 32 frames, 8 classes, clean and deteriorated frames."""
    root = tmp_path_factory.mktemp("datasets")
    write_toy(root / "toy_vid", split="val", videos=2, seed=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(root))
        yield root


@pytest.fixture(scope="module")
def script():
    module = load_script(SCRIPT)
    return module


@pytest.fixture
def evaluate(script, monkeypatch):
    """evaluate(*arguments) -> exit code. Whoever builds a torch module meanwhile fails."""

    def no_model(self, *args, **kwargs):
        raise AssertionError(f"{type(self).__name__} was built")

    def run(*arguments):
        loggers = [logging.getLogger(name) for name in ("detectron2", "stpn")]
        before = [(list(log.handlers), log.propagate, log.level) for log in loggers]
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
            patch.setattr(torch.nn.Module, "__init__", no_model)
            run_script(lambda: script.main(list(map(str, arguments))))
        for log, (handlers, log.propagate, log.level) in zip(loggers, before, strict=True):
            log.handlers[:] = handlers
        setup_logger.cache_clear()
        return end.value.code

    return run


def predicted(dicts, seed=0):
    """Noisy truth and strays -> [(sample, Instances of each frame)] per video."""
    generator, pairs = torch.Generator().manual_seed(seed), {}
    for d in dicts:
        boxes = torch.tensor([a["bbox"] for a in d["annotations"]], dtype=torch.float32).reshape(-1, 4)
        boxes = (boxes.repeat(3, 1) + 6 * torch.randn(len(boxes) * 3, 4, generator=generator)).clamp(0, 95)
        boxes = torch.cat([torch.minimum(boxes[:, :2], boxes[:, 2:]), torch.maximum(boxes[:, :2], boxes[:, 2:])], 1)
        labels = torch.tensor([a["category_id"] for a in d["annotations"]] * 3, dtype=torch.int64)
        labels = torch.where(torch.rand(len(labels), generator=generator) < 0.3, 0, labels)
        scores = torch.rand(len(labels), generator=generator)
        found = Instances((96, 96), pred_boxes=Boxes(boxes), pred_classes=labels, scores=scores)
        sample, frames = pairs.setdefault(d["video_id"], ({"video_id": d["video_id"], "image_ids": []}, []))
        sample["image_ids"].append(d["image_id"])
        frames.append(found)
    return list(pairs.values())


@pytest.fixture(scope="module")
def results(toy, script, tmp_path_factory):
    """-> folders by convention, as an evaluation with the model leaves them."""
    script.ensure_registered([DATASET])
    pairs = predicted(DatasetCatalog.get(DATASET))
    folders = {}
    for convention in ("mega", "fgfa"):
        folders[convention] = tmp_path_factory.mktemp(convention)
        evaluator = ImageNetVIDEvaluator(DATASET, output_folder=folders[convention], motion_convention=convention)
        evaluator.process(*zip(*pairs))
        evaluator.evaluate()
    return folders


def arguments(folder, *more):
    return ["--results", folder / "vid_detections.json", "--dataset", DATASET, *more]


@pytest.mark.parametrize("convention", ["mega", "fgfa"])
def test_the_figures_of_a_saved_run_come_out_to_the_last_bit_without_a_model(
    convention, results, evaluate, tmp_path, capsys
):
    folder = results[convention]
    assert evaluate(*arguments(folder, "--output", tmp_path / "out", "--motion-convention", convention)) == 0
    assert (tmp_path / "out/vid_metrics.json").read_bytes() == (folder / "vid_metrics.json").read_bytes()
    printed = capsys.readouterr().out
    figures = json.loads((folder / "vid_metrics.json").read_text())["results_percent"]
    assert 0 < figures["bbox"]["AP50"] < 100 and {"AP50-clean", "AP50-deteriorated"} <= set(figures["bbox"])
    assert f"{convention.upper()} convention" in printed and f"{figures['bbox']['AP50']:.3f}" in printed
    assert "category ids taken as contiguous (0..7)" in printed


def test_shuffled_records_of_another_program_give_the_same_figures(results, evaluate, tmp_path):
    """COCO's four fields, ids from 1, last record first; and frames without records are counted."""
    records = json.loads((results["mega"] / "vid_detections.json").read_text())
    names = ("image_id", "category_id", "bbox", "score")
    plain = [{**{name: r[name] for name in names}, "category_id": r["category_id"] + 1} for r in records[::-1]]
    (tmp_path / "vid_detections.json").write_text(json.dumps(plain))
    assert evaluate(*arguments(tmp_path)) == 2  # from 0 or from 1: not guessed
    assert evaluate(*arguments(tmp_path, "--output", tmp_path / "out", "--category-ids", "one-based")) == 0
    assert (tmp_path / "out/vid_metrics.json").read_bytes() == (results["mega"] / "vid_metrics.json").read_bytes()


def test_frames_without_a_record_are_counted_and_have_nothing(results, evaluate, tmp_path, capsys):
    records = json.loads((results["mega"] / "vid_detections.json").read_text())
    first = records[0]["video_id"]
    (tmp_path / "vid_detections.json").write_text(json.dumps([r for r in records if r["video_id"] == first]))
    assert evaluate(*arguments(tmp_path)) == 0
    out = capsys.readouterr().out
    empty = 64 - len({r["image_id"] for r in records if r["video_id"] == first})
    warning = next(line for line in out.splitlines() if line.startswith("WARNING"))  # it was an INFO among others
    assert empty >= 32 and f"{empty} of 64 labelled frames have no detection" in warning
    (tmp_path / "vid_detections.json").write_text("[]")
    assert evaluate(*arguments(tmp_path)) == 0
    assert "64 of 64 labelled frames have no detection" in capsys.readouterr().out


def test_a_users_own_set_may_be_evaluated_with_the_ids_of_its_file(toy, evaluate, capsys):
    """Categories 7 and 3: class 0 is the cow. Perfect results in the ids of the file."""
    folder = toy / "my_set"
    (folder / "videos/a").mkdir(parents=True)
    for t in range(2):
        Image.new("RGB", (64, 48)).save(folder / f"videos/a/{t:06d}.png")
    boxes = [{"id": n + 1, "image_id": n // 2 + 1, "category_id": (7, 3)[n % 2], "bbox": [9 + 5 * n, 8, 20, 16]}
             for n in range(4)]  # fmt: skip
    (folder / "val.json").write_text(json.dumps({
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cow"}],
        "videos": [{"id": 1, "file_name": "videos/a"}],
        "images": [{"id": t + 1, "video_id": 1, "frame_index": t} for t in range(2)],
        "annotations": boxes,
    }))  # fmt: skip
    names = ("image_id", "category_id", "bbox")
    results = folder / "results.json"
    results.write_text(json.dumps([{**{k: b[k] for k in names}, "score": 0.5 + b["id"] / 10} for b in boxes]))
    output = folder / "out"
    options = ("--dataset", "my_set/val", "--category-ids", "original", "--output", output)
    assert evaluate("--results", results, *options) == 0
    figures = json.loads((output / "vid_metrics.json").read_text())["results_percent"]["bbox"]
    assert figures["AP-dog"] == figures["AP-cow"] == pytest.approx(100)
    assert "category ids taken as original (3..7)" in capsys.readouterr().out


def test_ids_that_may_mean_two_things_are_not_guessed(toy, evaluate, tmp_path, capsys):
    """Ids 1..3 of the annotation file were taken as the class numbers 0..2: as long as class 3 was not found, figures
    of other classes came out, with exit code 0."""
    folder = toy / "ids_from_1"
    write_folder(folder / "a", pictures(2))
    write_json(folder / "val.json", {
        "categories": [{"id": n, "name": name} for n, name in enumerate(("cup", "ball", "hat"), 1)],
        "videos": [{"id": 1, "file_name": "a"}],
        "images": [{"id": t + 1, "video_id": 1, "frame_index": t} for t in range(2)],
        "annotations": [{"id": t + 1, "image_id": t + 1, "category_id": t + 1, "bbox": [5, 5, 20, 20]}
                        for t in range(2)],
    })  # fmt: skip
    records = [{"image_id": t + 1, "category_id": t + 1, "bbox": [5, 5, 20, 20], "score": 0.5} for t in range(2)]
    results = write_json(tmp_path / "results.json", records)
    command = ("--results", results, "--dataset", "ids_from_1/val")
    assert evaluate(*command) == 2
    assert "record 0: has no video_id" in (err := capsys.readouterr().err)
    assert "from 1 (one-based), or the data set's own 1..3 (original)" in err
    assert evaluate(*command, "--category-ids", "contiguous") == 0  # said, not guessed
    assert evaluate(*command, "--category-ids", "original", "--output", tmp_path) == 0
    figures = json.loads((tmp_path / "vid_metrics.json").read_text())["results_percent"]["bbox"]
    assert figures["AP-cup"] == figures["AP-ball"] == pytest.approx(100)
    # What train_net.py writes names its videos and needs no option.
    ours = [{**r, "category_id": t, "video_id": "ids_from_1/a", "frame_index": t} for t, r in enumerate(records)]
    write_json(results, ours)
    assert evaluate(*command, "--output", tmp_path / "ours") == 0
    assert (tmp_path / "ours/vid_metrics.json").read_bytes() == (tmp_path / "vid_metrics.json").read_bytes()
    # One foreign record among ours.
    write_json(results, [ours[0], records[1]])
    assert evaluate(*command) == 2 and "record 1: has no video_id" in capsys.readouterr().err


def test_corners_written_for_widths_are_noticed(results, evaluate, tmp_path, capsys):
    """[x1, y1, x2, y2] was evaluated without a word."""
    records = json.loads((results["mega"] / "vid_detections.json").read_text())
    assert evaluate(*arguments(results["mega"])) == 0
    assert "outside their pictures" not in capsys.readouterr().out
    for record in records:
        x, y, w, h = record["bbox"]
        record["bbox"] = [x, y, x + w, y + h]
    write_json(tmp_path / "vid_detections.json", records)
    outside = sum(x + x2 > 97 or y + y2 > 97 for x, y, x2, y2 in (r["bbox"] for r in records))
    assert evaluate(*arguments(tmp_path)) == 0 and outside > len(records) / 2
    assert f"{outside} of {len(records)} boxes end outside their pictures" in capsys.readouterr().out


def test_the_folder_of_the_results_is_answered_with_the_file_in_it(results, evaluate, capsys):
    """It was "no such file"."""
    assert evaluate("--results", results["mega"], "--dataset", DATASET) == 2
    assert "is a folder; expected a JSON file: name one in it, such as" in (err := capsys.readouterr().err)
    assert "vid_detections.json" in err


def test_output_is_not_overwritten_unasked(results, evaluate, tmp_path, capsys):
    old = tmp_path / "vid_metrics.json"
    old.write_text("mine")
    assert evaluate(*arguments(results["mega"], "--output", tmp_path)) == 2 and old.read_text() == "mine"
    assert "vid_metrics.json exists already; choose another output folder or add --overwrite" in capsys.readouterr().err
    assert evaluate(*arguments(results["mega"], "--output", tmp_path, "--overwrite")) == 0
    assert old.read_bytes() == (results["mega"] / "vid_metrics.json").read_bytes()


@pytest.mark.parametrize("more, words", [
    (("--results", "absent.json"), "error: absent.json: no such file"),
    (("--dataset", "toy_vid_vla"), "did you mean toy_vid_val"),
    (("--dataset", "q"), "q; names are such as "),  # it was "did you mean", and the first files found
    (("--category-ids", "one-based"), "category_id 0 is unknown: the ids are 1..8; evaluate with"),
    (("--category-ids", "original"), "error: --category-ids original: toy_vid_val has no category ids of its own"),
    (("--motion-table", "absent.mat"), "error: absent.mat: motion IoU table not found"),
    (("--results", SCRIPT), "evaluate.py begins with '#!/usr/bin/env pytho'; expected a JSON list"),
])  # fmt: skip
def test_bad_input_ends_with_one_line_and_exit_code_2(more, words, results, evaluate, capsys):
    usual = arguments(results["mega"])
    if more[0] == "--results":  # which may be given several times
        usual = [part for part in usual if part not in usual[usual.index("--results"):][:2]]
    assert evaluate(*usual, *more) == 2
    out, err = capsys.readouterr()
    assert words in err.strip().splitlines()[-1] and "Traceback" not in out + err


def test_the_script_runs_as_typed(results):
    """In a process of its own; a nearer look at what it prints is above."""
    command = [sys.executable, SCRIPT, *arguments(results["mega"])]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "COCO box AP (percent)" in done.stdout and "copypaste: Task: vid_mega" in done.stdout
