"""Evaluators (detectron2's DatasetEvaluator interface) and the metrics behind them."""

from .build import build_evaluator
from .ope import OPEEvaluator
from .vis import YouTubeVISEvaluator
from .vod import ImageNetVIDEvaluator
from .vot import GOT10kEvaluator

__all__ = ["GOT10kEvaluator", "ImageNetVIDEvaluator", "OPEEvaluator", "YouTubeVISEvaluator", "build_evaluator"]
