"""From a dataset's evaluator_type to its evaluator."""

from detectron2.data import MetadataCatalog

from .ope import OPEEvaluator
from .vis import YouTubeVISEvaluator
from .vod import ImageNetVIDEvaluator
from .vot import GOT10kEvaluator


def _imagenet_vid(cfg, dataset_name, output_folder):
    return ImageNetVIDEvaluator(
        dataset_name, output_folder=output_folder, motion_convention=cfg.TEST.MOTION_CONVENTION
    )


def _ytvis(cfg, dataset_name, output_folder):
    return YouTubeVISEvaluator(dataset_name, output_folder=output_folder)


def _got10k(cfg, dataset_name, output_folder):
    return GOT10kEvaluator(dataset_name, output_folder=output_folder)


def _ope(cfg, dataset_name, output_folder):
    return OPEEvaluator(dataset_name, output_folder=output_folder)


EVALUATORS = {"got10k": _got10k, "imagenet_vid": _imagenet_vid, "ope": _ope, "ytvis": _ytvis}


def build_evaluator(cfg, dataset_name, output_folder):
    """The DatasetEvaluator for a registered dataset; a new task or dataset adds one entry to EVALUATORS."""
    kind = MetadataCatalog.get(dataset_name).get("evaluator_type")
    if kind not in EVALUATORS:
        raise KeyError(
            f"dataset {dataset_name} has evaluator_type {kind!r}; known are {', '.join(sorted(EVALUATORS))}"
        )
    return EVALUATORS[kind](cfg, dataset_name, output_folder)
