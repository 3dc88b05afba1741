"""train_net.py from command line to checkpoints, figures and exit codes, on a generated set of seven videos.

What must die, or run in two processes, runs in children: this file started as a script (see `forked`)
imports everything once and forks a process for each run. Faults are put in by replacing functions there.
"""

import functools
import importlib.util
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from own_logging import own_logging
from tiny_toy import toy_sets

from stpn.engine import trainer as trainer_module
from stpn.engine.checkpoint import read_checkpoint
from stpn.engine.trainer import Trainer
from stpn.errors import run_script
from stpn.meta_arch.vod import VideoObjectDetector

# A test may wait for eight processes that each import everything: half a minute, but minutes on a busy machine.
pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "projects" / "STPN" / "train_net.py"
STPN = ("--config-file", str(ROOT / "configs" / "toy" / "stpn.yaml"))
ITERATIONS = 8
# 0.1M parameters on 48 x 48 pixels: an iteration takes 0.1 s. A checkpoint after iterations 1, 3, 5, ...
TINY = (
    "MODEL.WEIGHTS", "", "MODEL.DEVICE", "cpu", "MODEL.SWIN.EMBED_DIM", "8", "MODEL.SWIN.DEPTHS", "[1,1,1,1]",
    "MODEL.SWIN.NUM_HEADS", "[1,1,1,1]", "MODEL.SWIN.WINDOW_SIZE", "3", "MODEL.STPN.PREDICTOR.NUM_HEADS", "2",
    "MODEL.FPN.OUT_CHANNELS", "16", "MODEL.ROI_BOX_HEAD.FC_DIM", "16",
    "MODEL.ANCHOR_GENERATOR.SIZES", "[[20],[30]]", "INPUT.MIN_SIZE_TRAIN", "[48]", "INPUT.MIN_SIZE_TEST", "48",
    "SOLVER.IMS_PER_BATCH", "2", "SOLVER.WARMUP_ITERS", "2", "SOLVER.CHECKPOINT_PERIOD", "2",
    "SOLVER.MAX_ITER", str(ITERATIONS),
)  # fmt: skip
NO_TEST = ("DATASETS.TEST", "()")
# Two ranks and one process differ in what they sample at random and in means of means. Here nothing is
# sampled (all 39 anchors are used, all are proposals, all proposals are used), every image weighs the same,
# and no statistics are taken over the batch.
NOTHING_SAMPLED = (
    "SOLVER.IMS_PER_BATCH", "4", "MODEL.STPN.PREDICTOR.TOKEN_NORM", "False", "MODEL.SWIN.DROP_PATH_RATE", "0.0",
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE", "256", "MODEL.RPN.POSITIVE_FRACTION", "1.0", "MODEL.RPN.NMS_THRESH", "1.0",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "64", "MODEL.ROI_HEADS.POSITIVE_FRACTION", "1.0",
    "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT", "False",
)  # fmt: skip


class RecordingTrainer(Trainer):
    """Leaves the total loss of each of its iterations in OUTPUT_DIR/losses.json."""

    def after_train(self):
        super().after_train()
        if comm.is_main_process() and "total_loss" in self.storage.histories():
            losses = [value for value, _ in self.storage.history("total_loss").values()]
            (Path(self.cfg.OUTPUT_DIR) / "losses.json").write_text(json.dumps(losses))


def load_script():
    spec = importlib.util.spec_from_file_location("stpn_train_net_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.Trainer = RecordingTrainer
    return script


# ---- faults: each takes a function like setattr, so that monkeypatch can undo it -------------------------


def bad_loss(put, iteration, rank=0):
    """loss_cls becomes infinite in one iteration of one rank."""
    forward = VideoObjectDetector.forward

    def broken(self, batch):
        found = forward(self, batch)
        if self.training and (get_event_storage().iter, comm.get_rank()) == (iteration, rank):
            found["loss_cls"] = found["loss_cls"] * float("inf")
        return found

    put(VideoObjectDetector, "forward", broken)


def kill_in_iteration(put, iteration):
    """kill -9 after the forward pass of an iteration, before its gradients."""
    check = trainer_module.check_losses

    def killing(losses, **place):
        if place["iteration"] == iteration:
            os.kill(os.getpid(), signal.SIGKILL)
        check(losses, **place)

    put(trainer_module, "check_losses", killing)


def kill_while_saving(put, saves):
    """kill -9 when half of a checkpoint is on disk, after `saves` whole ones."""
    save, counter = torch.save, iter(range(1000))

    def tearing(data, file):
        if next(counter) < saves:
            return save(data, file)
        whole = io.BytesIO()
        save(data, whole)
        file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    put(torch, "save", tearing)


FAULTS = {fault.__name__: fault for fault in (bad_loss, kill_in_iteration, kill_while_saving)}


def run_jobs(jobs):
    """{name: {"argv": [...], "faults": {name: arguments}}}, one after the other, each in a process of its own;
    prints {name: exit code, or minus the signal that ended it}."""
    torch.set_num_threads(1)
    script, codes = load_script(), {}
    # The launched processes inherit the fault, and do not import everything again.
    start = torch.multiprocessing.start_processes
    torch.multiprocessing.start_processes = functools.partial(start, start_method="fork")
    for name, job in jobs.items():
        sys.stdout.flush()
        child = os.fork()
        if not child:
            for fault, arguments in job.get("faults", {}).items():
                FAULTS[fault](setattr, **arguments)
            run_script(lambda job=job: script.main(job["argv"]))
        codes[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps(codes))


# ---- running ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def toy(tmp_path_factory):
    """The data sets toy_vid_train (4 videos) and toy_vid_val (3); one thread, so that sums have one order."""
    with toy_sets(tmp_path_factory.mktemp("datasets"), train=4, val=3) as root:
        yield root


def run(folder, *arguments, options=STPN):
    """train_net.py in this process -> exit code."""
    script = load_script()
    with own_logging(), pytest.raises(SystemExit) as end:
        run_script(lambda: script.main([*options, *TINY, "OUTPUT_DIR", str(folder), *map(str, arguments)]))
    return end.value.code


def start(command, **environment):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=800)


def argv(folder, *arguments, options=()):
    return [*STPN, *options, *TINY, "OUTPUT_DIR", str(folder), *map(str, arguments)]


def losses(folder):
    return json.loads((folder / "losses.json").read_text())


def log(folder, rank=0):
    return (folder / ("log.txt" + f".rank{rank}" * (rank > 0))).read_text()


def state(folder, name="model_final.pth"):
    """Everything in a checkpoint as {dotted name: tensor or value}."""
    flat = {}

    def walk(content, path):
        if isinstance(content, (dict, list, tuple)):
            items = content.items() if isinstance(content, dict) else enumerate(content)
            for key, value in items:
                walk(value, f"{path}.{key}")
        else:
            flat[path] = content

    content = read_checkpoint(folder / name)
    content.pop("config")  # names the folder
    walk(content, "")
    return flat


def assert_identical(first, second):
    assert first.keys() == second.keys() and len(first) > 300
    for name, value in first.items():
        same = torch.equal(value, second[name]) if torch.is_tensor(value) else value == second[name]
        assert same, f"{name} differs"


def evaluation(folder):
    """-> (metrics, detections) that an evaluation wrote."""
    written = folder / "inference" / "toy_vid_val"
    return [json.loads((written / f"vid_{name}.json").read_text()) for name in ("metrics", "detections")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """OUTPUT_DIR of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("trained")
    assert run(folder) == 0
    return folder


@pytest.fixture
def stopped(trained, tmp_path):
    """A copy of that run as if killed in iteration 6 or 7: checkpoints of 1, 3 and 5."""
    folder = tmp_path / "stopped"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("inference", "events*", "losses.json", "log*"))
    for name in ("model_final.pth", "model_0000007.pth"):
        (folder / name).unlink()
    (folder / "last_checkpoint").write_text("model_0000005.pth")
    return folder


# ---- training, evaluating, resuming ----------------------------------------------------------------------


def test_training_leaves_checkpoints_logs_and_figures(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"config.yaml", "log.txt", "metrics.json", "last_checkpoint", "inference"} <= names
    assert {f"model_{i:07d}.pth" for i in (1, 3, 5, 7)} | {"model_final.pth"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not any("tmp" in name for name in names)
    assert len(losses(trained)) == ITERATIONS
    metrics, detections = evaluation(trained)
    assert metrics["videos"] == 3 and metrics["frames"] == 96 and detections
    assert {"AP", "AP50", "AP50-clean", "AP50-deteriorated"} <= set(metrics["results_percent"]["bbox"])
    assert "96 labelled frames" in log(trained) and "starts from random weights" in log(trained)


def test_eval_only_gives_the_figures_of_the_end_of_training(trained, tmp_path):
    assert run(tmp_path, "MODEL.WEIGHTS", trained / "model_final.pth", options=(*STPN, "--eval-only")) == 0
    assert evaluation(tmp_path) == evaluation(trained)
    assert not list(tmp_path.glob("*.pth"))


def test_eval_only_with_resume_takes_the_newest_checkpoint_and_several_sets(stopped, capsys):
    two_sets = ("DATASETS.TEST", "('toy_vid_val', 'toy_vid_train')")
    assert run(stopped, *two_sets, options=(*STPN, "--eval-only", "--resume")) == 0
    assert f"weights from {stopped / 'model_0000005.pth'}" in capsys.readouterr().out
    assert {path.name for path in (stopped / "inference").iterdir()} == {"toy_vid_val", "toy_vid_train"}


def test_same_seed_gives_equal_losses_for_20_iterations_whatever_happens_between(tmp_path):
    runs = {"plain": NO_TEST, "evaluated between": ("TEST.EVAL_PERIOD", "10"), "other seed": (*NO_TEST, "SEED", "1")}
    for name, arguments in runs.items():
        length = 20 if name != "other seed" else 3
        assert run(tmp_path / name, "SOLVER.CHECKPOINT_PERIOD", "100", "SOLVER.MAX_ITER", length, *arguments) == 0
    first, second, other = (losses(tmp_path / name) for name in runs)
    assert len(first) == 20 and first == second
    assert not set(first) & set(other)


@pytest.mark.parametrize("tag", [None, "model_final.pth"])
def test_resume_without_a_true_last_checkpoint_takes_the_newest_valid_file(stopped, trained, tag):
    (stopped / "last_checkpoint").unlink()
    if tag:
        (stopped / "last_checkpoint").write_text(tag)
    whole = (stopped / "model_0000005.pth").read_bytes()
    (stopped / "model_0000005.pth").write_bytes(whole[: len(whole) // 2])
    assert run(stopped, *NO_TEST, options=(*STPN, "--resume")) == 0
    text = log(stopped)
    assert "model_0000005.pth: is truncated" in text
    assert f"newest that is: {stopped / 'model_0000003.pth'}" in text and "resumed at iteration 4 of" in text
    assert_identical(state(stopped), state(trained))


def test_resume_in_an_empty_folder_says_that_it_starts_at_0(tmp_path):
    assert run(tmp_path, *NO_TEST, "SOLVER.MAX_ITER", 1, options=(*STPN, "--resume")) == 0
    assert "nothing to resume from" in log(tmp_path) and len(losses(tmp_path)) == 1


def test_a_finished_run_resumed_trains_no_further(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "finished")
    (folder / "losses.json").unlink()
    before = {path.name: path.read_bytes() for path in folder.glob("*.pth")}
    assert run(folder, *NO_TEST, options=(*STPN, "--resume")) == 0
    assert {path.name: path.read_bytes() for path in folder.glob("*.pth")} == before
    assert not (folder / "losses.json").exists()


def test_resume_with_another_architecture_is_refused_even_where_all_shapes_fit(stopped, capsys):
    before = {path.name: path.read_bytes() for path in stopped.glob("*.pth")}
    heads = "MODEL.STPN.PREDICTOR.NUM_HEADS"
    assert run(stopped, heads, "4", options=(*STPN, "--resume")) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: cannot resume from") and f"{heads} 2 -> 4" in error and "OUTPUT_DIR" in error
    assert {path.name: path.read_bytes() for path in stopped.glob("*.pth")} == before


def test_resume_with_another_learning_rate_says_so_and_goes_on(stopped):
    assert run(stopped, *NO_TEST, "SOLVER.BASE_LR", 0.0004, options=(*STPN, "--resume")) == 0
    assert "SOLVER.BASE_LR 0.0008 -> 0.0004" in log(stopped) and "resumed at iteration 6" in log(stopped)


# ---- bad input -------------------------------------------------------------------------------------------


def garbage(folder):
    path = folder / "garbage.pth"
    path.write_bytes(b"no weights\n" * 99)
    return path


@pytest.mark.parametrize("arguments, options, expected", [
    (lambda t: ("SOLVER.MAX_ITERS", "3"), (), "unknown key SOLVER.MAX_ITERS (nearest: SOLVER.MAX_ITER)"),
    (lambda t: ("SOLVER.MAX_ITER", "many"), (), "SOLVER.MAX_ITER expects int like"),
    (lambda t: ("DATASETS.TRAIN", "('toy_vid_trian',)"), (), "did you mean toy_vid_train"),
    (lambda t: ("SOLVER.IMS_PER_BATCH", "0"), (), "SOLVER.IMS_PER_BATCH is 0"),
    (lambda t: ("MODEL.WEIGHTS", t / "absent.pth"), (), "no such weight file: {0}/absent.pth"),
    (lambda t: ("MODEL.WEIGHTS", garbage(t)), (), "{0}/garbage.pth: is not a .pth weight file"),
    (lambda t: ("MODEL.WEIGHTS", garbage(t)), ("--eval-only",), "{0}/garbage.pth: is not a .pth weight file"),
    (lambda t: (), ("--eval-only",), "set MODEL.WEIGHTS"),
    (lambda t: (), ("--config-file", "absent.yaml"), "no such config file: "),
])  # fmt: skip
def test_bad_input_ends_with_one_line_and_exit_code_2(tmp_path, capsys, arguments, options, expected):
    assert run(tmp_path / "out", *arguments(tmp_path), options=(*STPN, *options)) == 2
    assert_one_line(capsys, expected.format(tmp_path))


def assert_one_line(capsys, expected):
    out, err = capsys.readouterr()
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: ") and expected in last
    assert "Traceback" not in out + err


def test_missing_data_set_names_the_folder_that_it_wanted(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    assert run(tmp_path / "out") == 2
    assert_one_line(capsys, f"data set folder not found: {tmp_path / 'toy_vid'};")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_training_on_a_gpu_that_is_not_there_is_refused(tmp_path, capsys):
    assert run(tmp_path / "out", "MODEL.DEVICE", "cuda") == 2
    assert_one_line(capsys, "there are 0 GPUs that torch can use; add MODEL.DEVICE cpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("iteration", [4, ITERATIONS - 1])
def test_infinite_loss_names_iteration_losses_and_frames_and_keeps_the_good_checkpoint(
    tmp_path, monkeypatch, capsys, iteration
):
    bad_loss(monkeypatch.setattr, iteration)
    assert run(tmp_path) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: loss is not finite at iteration {iteration}: process 0: ")
    assert "loss_cls=inf" in error and "loss_rpn_loc=" in error and error.count(".JPEG") == 2
    last = f"model_{iteration // 2 * 2 - 1:07d}.pth"
    assert (tmp_path / "last_checkpoint").read_text() == last
    assert all(torch.isfinite(value).all() for value in read_checkpoint(tmp_path / last)["model"].values())
    # Also after a failure in the very last iteration, which detectron2 takes for the end of training.
    assert not (tmp_path / "inference").exists() and not (tmp_path / "model_final.pth").exists()


# ---- killed processes, two processes -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def forked(tmp_path_factory):
    """A run killed twice and resumed, and two runs in two processes -> folder of the three, exit codes by
    name, the iteration of the second kill, what went to stderr."""
    folder, iteration = tmp_path_factory.mktemp("forked"), random.randrange(4, ITERATIONS)
    killed, resume = folder / "killed", ["--resume"]
    two = ["--num-gpus", "2", "--dist-url", "auto"]
    jobs = {
        "kill while saving": {"argv": argv(killed), "faults": {"kill_while_saving": {"saves": 1}}},
        "kill in iteration": {"argv": argv(killed, options=resume),
                              "faults": {"kill_in_iteration": {"iteration": iteration}}},
        "resume": {"argv": argv(killed, options=resume)},
        "pair": {"argv": argv(folder / "pair", *NOTHING_SAMPLED, options=two)},
        "bad pair": {"argv": argv(folder / "bad pair", options=two),
                     "faults": {"bad_loss": {"iteration": ITERATIONS - 1, "rank": 1}}},
    }  # fmt: skip
    # Where there is a GPU, a forked process could not give it up again as a spawned one does.
    done = start([sys.executable, __file__, json.dumps(jobs)], CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1]), iteration, done.stderr


def test_killed_runs_end_with_the_state_of_one_that_nothing_interrupted(forked, trained):
    folder, codes, iteration, errors = forked[0] / "killed", *forked[1:]
    place = f"killed in iteration {iteration}"
    assert codes["kill while saving"] == codes["kill in iteration"] == -signal.SIGKILL, (place, codes, errors)
    assert codes["resume"] == 0, (place, errors)
    text, again = log(folder), iteration // 2 * 2
    assert "removing" in text and "model_0000003.tmp.pth" in text and not list(folder.glob("*.tmp*"))
    assert f"resumed at iteration 2 of {ITERATIONS}" in text
    assert f"resumed at iteration {again} of {ITERATIONS}" in text, place
    assert losses(folder) == losses(trained)[again:], place
    assert_identical(state(folder), state(trained))
    assert evaluation(folder) == evaluation(trained)


def test_two_processes_train_and_evaluate_like_one(forked, tmp_path):
    pair, alone, again = forked[0] / "pair", tmp_path / "alone", tmp_path / "again"
    assert forked[1]["pair"] == 0, forked[3]
    assert run(alone, *NOTHING_SAMPLED, *NO_TEST) == 0
    assert len(losses(pair)) == ITERATIONS and losses(pair) == pytest.approx(losses(alone), rel=1e-4)
    # The weights move by about 4e-3. AdamW makes steps even of rounding errors where a gradient is zero (the
    # bias of keys), so the bound is not the 1e-7 at which most of them agree.
    one, other = state(alone), state(pair)
    for name in (name for name in one if name.startswith(".model.")):
        torch.testing.assert_close(other[name], one[name], rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    # Three videos, two ranks: each video once, and the figures of one process with the same weights.
    shares = [int(log(pair, rank).split("Start inference on ")[1].split()[0]) for rank in range(2)]
    assert sorted(shares) == [1, 2]
    weights = ("MODEL.WEIGHTS", pair / "model_final.pth")
    assert run(again, *NOTHING_SAMPLED, *weights, options=(*STPN, "--eval-only")) == 0
    assert evaluation(pair)[0]["frames"] == 96 and evaluation(pair) == evaluation(again)


def test_bad_loss_of_one_process_stops_both_in_the_same_iteration(forked):
    folder, codes, _, errors = forked[0] / "bad pair", *forked[1:]
    assert codes["bad pair"] == 1, errors
    for rank in range(2):
        found = log(folder, rank).split("FloatingPointError: ")[-1].splitlines()[0]
        assert found.startswith(f"loss is not finite at iteration {ITERATIONS - 1}: process 1: ")
        assert "loss_cls=inf" in found and found.count(".JPEG") == 1
    assert (folder / "last_checkpoint").read_text() == "model_0000005.pth"
    assert not (folder / "inference").exists()


def test_diverged_weights_end_the_command_line_with_code_1_in_two_processes(tmp_path):
    """The script as typed, its processes spawned; the learning rate times 1e30 from iteration 2 on."""
    jump = ("SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR", "SOLVER.WARMUP_ITERS", "0", "SOLVER.STEPS", "(2,)",
            "SOLVER.GAMMA", "1e30")  # fmt: skip
    options = ["--num-gpus", "2", "--dist-url", "auto"]
    done = start([sys.executable, str(SCRIPT), *argv(tmp_path, *jump, options=options)])
    assert done.returncode == 1, done.stderr
    assert "loss is not finite at iteration 3: process 0: " in done.stderr and ".JPEG" in done.stderr
    assert done.stderr.strip().splitlines()[-1] == "a worker process ended with exit code 1"
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000001.pth"
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["model_0000001.pth"]


if __name__ == "__main__":
    run_jobs(json.loads(sys.argv[1]))
