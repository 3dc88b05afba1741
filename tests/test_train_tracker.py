"""A tracker through train_net.py: two stages of a few iterations, killed and resumed, and evaluated at the end."""

import json
import os
import signal
import sys

import cv2
import pytest
import torch
from forked_runs import ROOT, TWO, run_jobs, start
from tiny_vot import moving_square
from track_sets import write_sequence

from stpn.engine import trainer as trainer_module
from stpn.engine.checkpoint import read_checkpoint

pytestmark = pytest.mark.timeout(600)

TRAIN, VAL = "tiny_tracks/train", "tiny_tracks/val"
ITERATIONS, KILLED = 5, 3
# Checkpoints after iterations 1, 3, ...
TINY = (
    "MODEL.WEIGHTS", "", "MODEL.DEVICE", "cpu", "MODEL.CVT.WIDTHS", "[8,16,16]", "MODEL.CVT.NUM_HEADS", "[1,1,1]",
    "MODEL.CVT.DEPTHS", "[1,1,1]", "MODEL.STPN.PREDICTOR.NUM_HEADS", "2", "MODEL.MIXFORMER.HEAD_DIM", "16",
    "INPUT.TRACKING.TEMPLATE_SIZE", "32", "INPUT.TRACKING.SEARCH_SIZE", "64", "DATASETS.TRAIN", f"('{TRAIN}',)",
    "DATASETS.TEST", f"('{VAL}',)", "SOLVER.IMS_PER_BATCH", "2", "SOLVER.WARMUP_ITERS", "1",
    "SOLVER.CHECKPOINT_PERIOD", "2", "SOLVER.MAX_ITER", str(ITERATIONS),
)  # fmt: skip


def kill_in_iteration(put, iteration):
    """kill -9 after the forward pass of an iteration, before its gradients."""
    check = trainer_module.check_losses

    def killing(losses, **place):
        if place["iteration"] == iteration:
            os.kill(os.getpid(), signal.SIGKILL)
        check(losses, **place)

    put(trainer_module, "check_losses", killing)


def argv(folder, *arguments, config="vot_stpn", options=()):
    return ["--config-file", str(ROOT / f"configs/toy/{config}.yaml"), *options, *TINY, "OUTPUT_DIR", str(folder),
            *map(str, arguments)]


def write_videos(folder, lengths):
    for number, length in enumerate(lengths, 1):
        images, boxes = moving_square(length, seed=number)
        write_sequence(folder / f"S{number}", boxes, size=images[0].shape[1::-1])
        for t, image in enumerate(images, 1):
            cv2.imwrite(str(folder / f"S{number}/{t:08d}.jpg"), image)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All trainings -> their folder, exit codes, stderr."""
    root = tmp_path_factory.mktemp("tracker")
    write_videos(root / "sets" / TRAIN, [24, 22])
    write_videos(root / "sets" / VAL, [5, 4, 6, 3])
    first, pair = root / "killed/model_final.pth", root / "pair/model_final.pth"
    jobs = {
        "whole": {"argv": argv(root / "whole", "DATASETS.TEST", "()")},
        "killed": {"argv": argv(root / "killed"), "faults": {"kill_in_iteration": {"iteration": KILLED}}},
        "resumed": {"argv": argv(root / "killed", options=["--resume"])},
        "second stage": {"argv": argv(root / "second", "MODEL.WEIGHTS", first, config="vot_stpn_score")},
        "pair": {"argv": argv(root / "pair", options=TWO)},
        "pair evaluated": {"argv": argv(root / "evaluated", "MODEL.WEIGHTS", pair, options=["--eval-only"])},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(root / "sets"))
        return root, *start(__file__, jobs)


def state(folder):
    """Everything in the last checkpoint but the configuration, which names the folder."""
    content = read_checkpoint(folder / "model_final.pth")
    content.pop("config")
    return content


def assert_identical(one, other, place="checkpoint"):
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        one, other = list(one.items()), list(other.items())
    if isinstance(one, (list, tuple)):
        assert len(one) == len(other), place
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_identical(a, b, f"{place}.{i}")
    else:
        assert torch.equal(one, other) if torch.is_tensor(one) else one == other, place


def results(folder):
    """-> (figures but for what depends on the clock, boxes and scores) of an evaluation."""
    place = folder / "inference" / VAL
    content = json.loads((place / "got10k_metrics.json").read_text())
    content.pop("frames_per_second")
    for score in (content["overall"], *content["seq_wise"].values()):
        score.pop("speed_fps")
    return content, {str(path.relative_to(place)): path.read_text() for path in sorted(place.rglob("*.txt"))
                     if not path.name.endswith("_time.txt")}


def test_a_first_stage_that_was_killed_and_resumed_ends_as_one_that_was_not(runs):
    root, codes, errors = runs
    assert codes["killed"] == -signal.SIGKILL and codes["resumed"] == codes["whole"] == 0, (codes, errors)
    assert f"resumed at iteration 2 of {ITERATIONS}" in (root / "killed/log.txt").read_text()
    killed, whole = state(root / "killed"), state(root / "whole")
    assert len(whole["model"]) > 100 and {"trainer", "iteration"} <= whole.keys()
    assert_identical(killed, whole)
    assert results(root / "killed")[0]["overall"]["ao"] >= 0


def test_a_second_stage_moves_the_score_head_alone_and_keeps_the_first_ones_statistics(runs):
    root, codes, errors = runs
    assert codes["second stage"] == 0, errors
    first, second = state(root / "killed")["model"], state(root / "second")["model"]
    score = {name for name in second if name.startswith("score_branch.")}
    counters = {name for name in first if name.startswith("box_head.") and name.endswith("num_batches_tracked")}
    assert score and counters and second.keys() - score == first.keys() - counters  # BatchNorm is frozen now
    assert any(name.endswith("running_var") and (value != 1).any() for name, value in first.items())
    for name in second.keys() - score:
        assert torch.equal(second[name], first[name]), name
    early = read_checkpoint(root / "second/model_0000001.pth")["model"]
    assert not any(torch.equal(early[name], second[name]) for name in score if name.endswith("weight"))
    log = (root / "second/log.txt").read_text()
    assert "starts fresh: score_branch" in log and "not loaded from" not in log
    _, files = results(root / "second")
    assert all(0 <= float(line) <= 1 for name in files if name.startswith("scores/") for line in files[name].split())


def test_the_evaluation_that_ends_a_training_of_two_processes_is_that_of_its_checkpoint(runs):
    """In training each process has gathered its own BatchNorm statistics; the checkpoint holds the first's."""
    root, codes, errors = runs
    assert codes["pair"] == codes["pair evaluated"] == 0, errors
    assert "Start inference on 2 batches" in (root / "pair/log.txt.rank1").read_text()
    assert results(root / "pair") == results(root / "evaluated") and len(results(root / "pair")[1]) == 8


if __name__ == "__main__":
    run_jobs(json.loads(sys.argv[1]), {"kill_in_iteration": kill_in_iteration})
