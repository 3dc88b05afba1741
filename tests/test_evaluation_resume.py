"""train_net.py --eval-only of a tracker, killed in mid-set and started again, in one process and in two.

What must die runs in children (see `forked`, forked_runs.py).
"""

import json
import os
import signal
import sys

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import defaults
from detectron2.utils import comm
from forked_runs import ROOT, TWO, load_train_net, run_jobs, start
from own_logging import own_logging
from track_sets import write_sequence

from stpn.engine.config_file import load_config
from stpn.engine.trainer import Trainer
from stpn.errors import run_script
from stpn.meta_arch.tracker import Tracker
from stpn.meta_arch.vot import VideoObjectTracker

pytestmark = pytest.mark.timeout(600)

LENGTHS = [5, 1, 7, 6, 4, 6]
NAME = "resume_tracks/val"
TINY = (
    "MODEL.DEVICE", "cpu", "MODEL.CVT.WIDTHS", "[8,16,16]", "MODEL.CVT.NUM_HEADS", "[1,1,1]", "MODEL.CVT.DEPTHS",
    "[1,1,1]", "MODEL.STPN.PREDICTOR.NUM_HEADS", "2", "MODEL.MIXFORMER.HEAD_DIM", "16", "MODEL.MIXFORMER.SCORE_HEAD",
    "True", "INPUT.TRACKING.TEMPLATE_SIZE", "32", "INPUT.TRACKING.SEARCH_SIZE", "64", "DATASETS.TEST", f"('{NAME}',)",
)  # fmt: skip


def argv(folder, weights, *options):
    return ["--config-file", str(ROOT / "configs/toy/vot_stpn.yaml"), "--eval-only", *options, *TINY,
            "MODEL.WEIGHTS", str(weights), "OUTPUT_DIR", str(folder)]


def record_sequences(put, path):
    """Each sequence that passes the model leaves its name in the file."""
    forward = VideoObjectTracker.forward

    def recording(self, batch):
        with open(path, "a") as handle:
            handle.write("".join(f"{sample['name']}\n" for sample in batch))
        return forward(self, batch)

    put(VideoObjectTracker, "forward", recording)


def kill_in_frame(put, number, rank=0):
    """kill -9 in one process, in its frame `number` that is tracked."""
    track, calls = Tracker.track, iter(range(10000))

    def killing(self, image):
        if comm.get_rank() == rank and next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return track(self, image)

    put(Tracker, "track", killing)


FAULTS = {fault.__name__: fault for fault in (kill_in_frame, record_sequences)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A set of six sequences, and random weights -> path of the weights."""
    root = tmp_path_factory.mktemp("tracker")
    rng = np.random.default_rng(0)
    for number, length in enumerate(LENGTHS, 1):
        boxes = np.concatenate([rng.uniform(0, 30, (length, 2)), rng.uniform(10, 18, (length, 2))], axis=1)
        write_sequence(root / "sets" / NAME / f"S{number}", boxes)
    (root / "sets" / NAME / "groups.json").write_text(json.dumps({"odd": {"S3": [1, 3, 5], "S6": [1, 3]}}))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(root / "sets"))
        patch.setattr(defaults, "collect_env_info", lambda: "(skipped: it takes a second)")
        torch.manual_seed(0)
        model = Trainer.build_model(load_config(str(ROOT / "configs/toy/vot_stpn.yaml"), list(TINY)))
        torch.save({"model": model.state_dict()}, root / "weights.pth")
        yield root / "weights.pth"
    torch.set_num_threads(threads)
    if NAME in DatasetCatalog:
        DatasetCatalog.remove(NAME)
        MetadataCatalog.remove(NAME)


@pytest.fixture(scope="module")
def whole(weights):
    """OUTPUT_DIR of an evaluation that nothing interrupted."""
    with own_logging(), pytest.raises(SystemExit) as end:
        run_script(lambda: load_train_net().main(argv(weights.parent / "whole", weights)))
    assert end.value.code == 0
    return weights.parent / "whole"


@pytest.fixture(scope="module")
def forked(weights):
    """An evaluation killed and started again, in one process and in two -> its folders, exit codes, stderr."""
    jobs = {}
    for name, options, frame, rank in (("one", (), 9, 0), ("two", TWO, 8, 1)):
        for part, faults in (("killed", {"kill_in_frame": {"number": frame, "rank": rank}}), ("resumed", {})):
            seen = {"record_sequences": {"path": str(weights.parent / f"{name} {part}.txt")}}
            jobs[f"{name} {part}"] = {"argv": argv(weights.parent / name, weights, *options), "faults": seen | faults}
    return weights.parent, *start(__file__, jobs)


def results(folder):
    return folder / "inference" / NAME


def figures(folder):
    """-> got10k_metrics.json but for what depends on the clock."""
    content = json.loads((results(folder) / "got10k_metrics.json").read_text())
    content.pop("frames_per_second")
    for score in (content["overall"], *content["seq_wise"].values()):
        score.pop("speed_fps")
    return content


def written(folder):
    return {str(path.relative_to(results(folder))): path.read_bytes() for path in sorted(results(folder).rglob("*.txt"))
            if not path.name.endswith("_time.txt")}


@pytest.mark.parametrize("name", ["one", "two"])
def test_killed_and_started_again_gives_the_figures_of_an_evaluation_that_nothing_interrupted(forked, whole, name):
    folder, codes, errors = forked
    killed, resumed = ((folder / f"{name} {part}.txt").read_text().split() for part in ("killed", "resumed"))
    assert codes[f"{name} killed"] not in (0, 2) and codes[f"{name} resumed"] == 0, errors
    # Only what was in work is tracked twice: one sequence a process.
    assert 2 <= len(killed) < len(LENGTHS) + (name == "two") and set(killed) | set(resumed) == {f"S{n}" for n in
                                                                                                range(1, 7)}
    assert len(set(killed) & set(resumed)) <= (1 if name == "one" else 2) and len(resumed) == len(set(resumed)) < 6
    assert figures(folder / name) == figures(whole) and written(folder / name) == written(whole)
    log = (folder / name / "log.txt").read_text()
    assert f"{6 - len(resumed)} of 6 sequences were tracked before" in log
    assert not (results(folder / name) / "unfinished.json").exists()


def test_an_evaluation_leaves_figures_of_all_and_of_groups_speeds_and_scores(whole):
    content = json.loads((results(whole) / "got10k_metrics.json").read_text())
    assert 0 <= content["overall"]["ao"] <= 1 and content["seq_wise"]["S2"]["ao"] is None  # one frame
    assert content["groups"]["odd"]["frames"] > 0
    rates = content["frames_per_second"]
    assert 0 < rates["end_to_end"] < rates["model_only"]
    scores = [float(line) for line in (results(whole) / "scores/S3.txt").read_text().split()]
    assert len(scores) == 7 and all(0 <= score <= 1 for score in scores)
    log = (whole / "log.txt").read_text()
    assert "model only" in log and "end to end" in log and "AO-odd" not in log and "frames of odd" in log


if __name__ == "__main__":
    run_jobs(json.loads(sys.argv[1]), FAULTS)
