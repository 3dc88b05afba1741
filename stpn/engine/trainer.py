"""detectron2's DefaultTrainer with this project's loader, optimizer, evaluators and safe checkpoints."""

import logging
import os
import weakref
from collections import OrderedDict

import torch
from detectron2.engine import AMPTrainer, DefaultTrainer, SimpleTrainer, TrainerBase, create_ddp_model
from detectron2.engine.hooks import EvalHook
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset, print_csv_format
from detectron2.utils import comm

from ..data.agreement import check_data_sets
from ..data.build import build_video_test_loader, build_video_train_loader
from ..data.early_checks import check_early
from ..errors import InputError, PartialResult
from ..evaluation.build import build_evaluator
from .checkpoint import SafeCheckpointer
from .fingerprint import evaluation_fingerprint
from .guards import check_losses, seed_iteration
from .model import build_model
from .optimizer import build_optimizer

logger = logging.getLogger(__name__)


class Trainer(DefaultTrainer):
    """Training whose every iteration is a function of (weights, SEED, iteration).

    So a run that was killed and resumed ends with the weights of one that was not (on the CPU, same seed).
    """

    def __init__(self, cfg):
        # Follows DefaultTrainer.__init__, which knows neither processes on the CPU nor another checkpointer.
        TrainerBase.__init__(self)
        _require_device_for_amp(cfg)
        cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
        self.cfg, self.start_iter, self.max_iter = cfg, 0, cfg.SOLVER.MAX_ITER
        check_early(cfg)  # a wrong name or mapper shows before anything is read or built
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        devices = {} if cfg.MODEL.DEVICE.startswith("cuda") else {"device_ids": None}
        model = create_ddp_model(model, broadcast_buffers=False, **devices)
        # Every rank sees its own losses before the backward pass: a bad one stops all of them together.
        self._batch = None  # what is in the forward pass
        model.register_forward_pre_hook(self._enter)
        model.register_forward_hook(self._check)
        loop = AMPTrainer if cfg.SOLVER.AMP.ENABLED else SimpleTrainer
        loader = self.build_train_loader(cfg)
        check_data_sets(cfg, training=True)  # evaluation ends each run: what it refuses must not cost a training
        for name in cfg.DATASETS.TEST:
            _refuse_lacking(self.build_evaluator(cfg, name))
        self._trainer = loop(model, loader, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = SafeCheckpointer(model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self),
                                            config=cfg)
        self.register_hooks(self.build_hooks())

    def resume_or_load(self, resume=True):
        super().resume_or_load(resume=resume)
        if self.start_iter > 0:
            logger.info("resumed at iteration %d of %d", self.start_iter, self.max_iter)
            self._trainer.reset_data_loader(
                lambda: self.build_train_loader(self.cfg, start_iter=self.start_iter))

    def run_step(self):
        # cfg.SEED < 0 asks for a different run each time: then nothing is seeded here.
        if self.cfg.SEED >= 0:
            seed_iteration(self.cfg.SEED, self.iter, comm.get_rank())
        try:
            super().run_step()
        except FloatingPointError as error:
            if self._batch is None:
                raise  # by _check, on all ranks
            # The proposal generator ends a diverged run on its own, before there are losses, and without a word
            # about where. The other ranks wait in _check.
            value = torch.tensor(float("nan"), device=self.cfg.MODEL.DEVICE)
            check_losses({f"forward pass ({error})": value}, iteration=self.iter, batch=self._batch)

    def after_train(self):
        final = os.path.join(self.cfg.OUTPUT_DIR, "model_final.pth")
        if self.start_iter >= self.max_iter and not os.path.isfile(final):
            self.checkpointer.save("model_final")  # resumed from a run that was killed right before it saved this
        if self.iter < self.max_iter:
            # EvalHook takes a failure in the last iteration for the end of training: it would evaluate, and
            # wait for ranks that are elsewhere.
            self._hooks = [hook for hook in self._hooks if not isinstance(hook, EvalHook)]
        super().after_train()

    def _enter(self, model, inputs):
        self._batch = inputs[0]

    def _check(self, model, inputs, losses):
        self._batch = None
        if model.training:
            check_losses(losses, iteration=self.iter, batch=inputs[0])

    @classmethod
    def build_model(cls, cfg):
        return build_model(cfg)

    @classmethod
    def build_optimizer(cls, cfg, model):
        return build_optimizer(cfg, model)

    @classmethod
    def build_train_loader(cls, cfg, start_iter=0):
        return build_video_train_loader(cfg, start_iter=start_iter)

    @classmethod
    def build_test_loader(cls, cfg, dataset_name, *, done=frozenset()):
        """done: ids of videos to leave out."""
        return build_video_test_loader(cfg, dataset_name, done=done)

    @classmethod
    def build_evaluator(cls, cfg, dataset_name):
        folder = os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name)
        return build_evaluator(cfg, dataset_name, folder)

    @classmethod
    def test(cls, cfg, model, evaluators=None):
        """DefaultTrainer.test, but what an interrupted evaluation with the same model, configuration and data set has
        written does not pass the model again, if the evaluator can take it up.

        Of several processes all evaluate with the buffers of the first, which are what a checkpoint holds: in training
        each gathers its own statistics (BatchNorm)."""
        share_buffers(model)
        results, partial = OrderedDict(), []
        given = [evaluators] if isinstance(evaluators, DatasetEvaluator) else evaluators
        evaluators = given or [cls.build_evaluator(cfg, name) for name in cfg.DATASETS.TEST]
        for name, evaluator in zip(cfg.DATASETS.TEST, evaluators, strict=True):
            done = frozenset()
            if hasattr(evaluator, "resume"):
                done = evaluator.resume(evaluation_fingerprint(cfg, model))
            try:
                results[name] = inference_on_dataset(model, cls.build_test_loader(cfg, name, done=done), evaluator)
            except PartialResult as error:  # the other data sets, and the other processes, have theirs
                partial.append(str(error))
                continue
            if comm.is_main_process():
                logger.info("figures on %s:", name)
                print_csv_format(results[name])
        if partial:
            raise PartialResult("; ".join(partial))
        return next(iter(results.values())) if len(results) == 1 else results


def _refuse_lacking(evaluator):
    """InputError where the evaluation at the end of a training could not give what it is for."""
    lacking = getattr(evaluator, "lacking", None)
    if lacking:
        raise InputError(f"{lacking}; complete the data set, or take it out of DATASETS.TEST while training")


def share_buffers(model):
    """The first process's buffers for all processes, in place."""
    if comm.get_world_size() > 1:
        for buffer in getattr(model, "module", model).buffers():
            torch.distributed.broadcast(buffer, src=0)


def _require_device_for_amp(cfg):
    """detectron2's loop for mixed precision knows CUDA alone, and asserts it in the first iteration."""
    if cfg.SOLVER.AMP.ENABLED and not (cfg.MODEL.DEVICE.startswith("cuda") and torch.cuda.is_available()):
        raise InputError(f"SOLVER.AMP.ENABLED is True and MODEL.DEVICE {cfg.MODEL.DEVICE!r}: mixed precision needs a "
                         "CUDA device; add SOLVER.AMP.ENABLED False to train here")
