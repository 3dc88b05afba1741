"""One row of a study with one seed: train, evaluate, and leave a result file. Finished work is not done again."""

import hashlib
import json
import logging
import time
from pathlib import Path

from detectron2.data import DatasetCatalog
from detectron2.evaluation import inference_on_dataset
from detectron2.utils.env import seed_all_rng

from ..engine.checkpoint import load_weights
from ..engine.config_file import flatten_config, load_config
from ..engine.trainer import Trainer
from ..errors import InputError, atomic_path
from .controls import CONTROLS

RESULT = "result.json"
_LEFT_OUT = ("OUTPUT_DIR", "SEED", "MODEL.WEIGHTS", "MODEL.DEVICE")  # do not tell rows apart, or stand beside it

logger = logging.getLogger(__name__)


class Job:
    """One row with one seed. output: folder of the study."""

    def __init__(self, study, row, seed, output):
        self.study, self.row, self.seed, self.output = study, row, seed, Path(output)
        self.folder = self.output / row.folder / f"seed_{seed}"

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
        cfg.merge_from_list(["SEED", self.seed, "OUTPUT_DIR", str(self.folder)])
        return cfg

    def result(self):
        """-> {"metrics": {"bbox/AP": ...}, ...}, None where it has to be made. InputError where a finished result is of
        other settings: a report must not mix the two."""
        path = self.folder / RESULT
        if not path.is_file():
            return None
        found = json.loads(path.read_text())
        if found["settings"] != self.settings():
            raise InputError(f"{path} was made with other settings than the study file now has; choose another output "
                             f"folder, or delete {self.folder} to run it again")
        return found

    def settings(self):
        """-> hash of all that the result depends on, apart from the data."""
        cfg, trained = self.config(), self.trained_by.config()
        told = [_told(cfg), _told(trained), trained.MODEL.WEIGHTS, self.row.control, self.seed]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def run(self):
        """Train (or go on with it) and evaluate. -> result."""
        found = self.result()
        if found is not None:
            return found
        start, trained = time.perf_counter(), self.trained_by
        if not trained.weights.is_file():
            if trained is not self:
                raise InputError(f"row {self.row.name!r} evaluates weights of {self.row.weights_of!r}, which are not "
                                 f"there yet: {trained.weights}; run that row with seed {self.seed} first")
            self._train()
        figures, parameters = self._evaluate(trained.weights)
        found = {"row": self.row.name, "seed": self.seed, "settings": self.settings(), "metrics": figures,
                 "parameters": parameters, "seconds": round(time.perf_counter() - start, 1)}
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.folder / RESULT) as part:
            part.write_text(json.dumps(found, indent=1))
        return found

    def _train(self):
        cfg = self.config()
        self.folder.mkdir(parents=True, exist_ok=True)
        cfg.merge_from_list(["DATASETS.TEST", ()])  # evaluated below, once
        cfg.freeze()
        seed_all_rng(self.seed)  # weights that start from random
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=True)
        trainer.train()

    def _evaluate(self, weights):
        """-> ({"task/figure": value, ...}, number of parameters)."""
        cfg = self.config()
        (dataset,) = cfg.DATASETS.TEST
        model = Trainer.build_model(cfg).eval()
        load_weights(model, str(weights))
        parameters = sum(parameter.numel() for parameter in model.parameters())
        DatasetCatalog.get(dataset)
        loader = Trainer.build_test_loader(cfg, dataset)
        if self.row.control:
            CONTROLS[self.row.control](model, loader)
        found = inference_on_dataset(model, loader, Trainer.build_evaluator(cfg, dataset))
        figures = {f"{task}/{name}": value for task, values in found.items() for name, value in values.items()}
        missing = [metric for metric in self.study.metrics if metric not in figures]
        if missing:
            raise InputError(f"the evaluation gives no {missing[0]}; its figures are {', '.join(sorted(figures))}")
        return figures, parameters


def _told(cfg):
    return {key: value for key, value in flatten_config(cfg).items() if key not in _LEFT_OUT}
