"""Evaluators (detectron2's DatasetEvaluator interface) and the metrics behind them."""

from .build import build_evaluator
from .vis import YouTubeVISEvaluator
from .vod import ImageNetVIDEvaluator
from .vot import GOT10kEvaluator

__all__ = ["GOT10kEvaluator", "ImageNetVIDEvaluator", "YouTubeVISEvaluator", "build_evaluator"]
