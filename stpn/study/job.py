"""One row of a study with one seed: train, evaluate, and leave a result file. Finished work is not done again."""

import fcntl
import functools
import hashlib
import json
import time
from pathlib import Path

from detectron2.data import DatasetCatalog
from detectron2.engine import launch
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger

from ..data.builtin import register_all
from ..engine.checkpoint import load_weights
from ..engine.config_file import PROJECT, flatten_config, load_config
from ..engine.devices import prepare_devices
from ..engine.trainer import Trainer
from ..errors import InputError, atomic_path, run_script
from .controls import CONTROLS

RESULT = "result.json"
# Do not tell rows apart, or are told beside it.
_LEFT_OUT = ("OUTPUT_DIR", "SEED", "MODEL.WEIGHTS", "MODEL.DEVICE", "SOLVER.CHECKPOINT_PERIOD")


class Job:
    """One row with one seed. Its folder below output/jobs is named after the row's settings, so that studies with the
    same output share the rows that they have in common, and a row that is changed is another row."""

    def __init__(self, study, row, seed, output):
        self.study, self.row, self.seed, self.output = study, row, seed, Path(output)

    @property
    def folder(self):
        return self.output / "jobs" / self.settings / f"seed_{self.seed}"

    @property
    def trained_by(self):
        """The job whose weights this one evaluates: itself, or that of weights_of."""
        if not self.row.weights_of:
            return self
        return Job(self.study, self.study.row(self.row.weights_of), self.seed, self.output)

    @property
    def weights(self):
        return self.folder / "model_final.pth"

    def config(self):
        cfg = load_config(str(self.row.config), self.row.overrides)
        cfg.merge_from_list(["SEED", self.seed])
        return cfg

    def result(self):
        """-> {"metrics": {"bbox/AP": ...}, ...}, None where it has to be made. InputError for a broken file, one
        without the study's metrics, or where the weights that training started from have changed since."""
        path = self.folder / RESULT
        if not path.is_file():
            return None
        found = _read(path)
        self._check(found["metrics"])
        start = self._start()
        if start and found["start"] != start:
            raise InputError(f"{path}: trained from other weights than {self.trained_by.config().MODEL.WEIGHTS} now "
                             f"holds; delete {self.folder} to run the row again, or take another --output")
        return found

    def _start(self):
        """-> digest of the file that training starts from, "" where there is none."""
        path = Path(self.trained_by.config().MODEL.WEIGHTS)
        return _digest(path, path.stat().st_mtime_ns) if path.is_file() else ""

    def _check(self, figures):
        missing = [metric for metric in self.study.metrics if metric not in figures]
        if missing:
            raise InputError(f"{self.study.path}: the evaluation gives no {missing[0]}; its figures are "
                             f"{', '.join(sorted(figures))}")

    @functools.cached_property
    def settings(self):
        """Hash of all that the result depends on, but for the seed, the data and what is in the file of weights that
        training starts from (result compares that)."""
        cfg, trained = self.config(), self.trained_by.config()
        changed = self.row.control if self.row.control and CONTROLS[self.row.control].apply else ""
        told = [_told(cfg), _told(trained), _start_name(trained.MODEL.WEIGHTS), changed]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def run(self, *, gpus=1):
        """Train (or go on with it) and evaluate, in so many processes (of a GPU each, or on the CPU). -> result."""
        found = self.result()
        if found is not None:
            return found
        trained = self.trained_by
        if trained is not self and not trained.weights.is_file():
            raise InputError(f"row {self.row.name!r} evaluates weights of {self.row.weights_of!r}, which are not there "
                             f"yet: {trained.weights}; run that row with seed {self.seed} first")
        prepare_devices(self.config().MODEL.DEVICE, gpus)
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be at it: then its result is there after it
            if not (self.folder / RESULT).is_file():
                launch(_work, gpus, dist_url="auto", args=(self,))
        return self.result()

    def work(self):
        """What run does, in one of its processes."""
        start, trained = time.perf_counter(), self.trained_by
        if not trained.weights.is_file():
            self._train()
        figures, parameters = self._evaluate(trained.weights)
        if not comm.is_main_process():
            return
        found = {"row": self.row.name, "seed": self.seed, "start": self._start(), "metrics": figures,
                 "parameters": parameters, "seconds": round(time.perf_counter() - start, 1)}
        with atomic_path(self.folder / RESULT) as part:
            part.write_text(json.dumps(found, indent=1))

    def _train(self):
        cfg = self.config()
        cfg.merge_from_list(["OUTPUT_DIR", str(self.folder), "DATASETS.TEST", ()])  # evaluated below, once
        cfg.freeze()
        seed_all_rng(self.seed + comm.get_rank())  # weights that start from random
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=True)
        trainer.train()

    def _evaluate(self, weights):
        """-> ({"task/figure": value, ...}, number of parameters)."""
        cfg = self.config()
        cfg.merge_from_list(["OUTPUT_DIR", str(self.folder)])
        (dataset,) = cfg.DATASETS.TEST
        model = Trainer.build_model(cfg).eval()
        load_weights(model, str(weights))
        parameters = sum(parameter.numel() for parameter in model.parameters())
        DatasetCatalog.get(dataset)
        loader = Trainer.build_test_loader(cfg, dataset)
        if self.row.control and CONTROLS[self.row.control].apply:
            CONTROLS[self.row.control].apply(model, loader)
        found = inference_on_dataset(model, loader, Trainer.build_evaluator(cfg, dataset))
        figures = {f"{task}/{name}": value for task, values in (found or {}).items() for name, value in values.items()}
        return figures, parameters


def _start_name(weights):
    """The same wherever the checkout lies and the command is given."""
    path = Path(weights)
    return path.relative_to(PROJECT).as_posix() if path.is_relative_to(PROJECT) else weights


def _read(path):
    try:
        found = json.loads(path.read_text())
        if isinstance(found["metrics"], dict) and isinstance(found["start"], str):
            return found
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{path} is not a result of a study; delete it, and the row is evaluated again")


def _told(cfg):
    return {key: value for key, value in flatten_config(cfg).items() if key not in _LEFT_OUT}


def _work(job):
    """In each process of a job."""
    for name in ("detectron2", "fvcore", "stpn"):
        setup_logger(distributed_rank=comm.get_rank(), name=name)
    register_all()
    if comm.get_world_size() > 1:
        run_script(job.work)  # the exit code of a child says why it ended
    else:
        job.work()


@functools.lru_cache(maxsize=64)
def _digest(path, changed):
    """changed: of the file, so that it is read anew when it is another."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()[:16]
