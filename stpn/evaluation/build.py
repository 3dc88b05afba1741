"""From a dataset's evaluator_type to its evaluator."""

from detectron2.data import MetadataCatalog

from .ope import OPEEvaluator
from .vis import YouTubeVISEvaluator
from .vod import ImageNetVIDEvaluator
from .vot import GOT10kEvaluator

EVALUATORS = {"got10k": GOT10kEvaluator, "imagenet_vid": ImageNetVIDEvaluator, "ope": OPEEvaluator,
              "ytvis": YouTubeVISEvaluator}
# evaluator_type -> what else the configuration tells the evaluator.
_OPTIONS = {"imagenet_vid": lambda cfg: {"motion_convention": cfg.TEST.MOTION_CONVENTION}}


def build_evaluator(cfg, dataset_name, output_folder):
    """The DatasetEvaluator for a registered dataset; a new task or dataset adds one entry to EVALUATORS."""
    kind = MetadataCatalog.get(dataset_name).get("evaluator_type")
    if kind not in EVALUATORS:
        raise KeyError(
            f"dataset {dataset_name} has evaluator_type {kind!r}; known are {', '.join(sorted(EVALUATORS))}"
        )
    options = _OPTIONS[kind](cfg) if kind in _OPTIONS else {}
    return EVALUATORS[kind](dataset_name, output_folder=output_folder, **options)
