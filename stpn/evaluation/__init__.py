"""Evaluators (detectron2's DatasetEvaluator interface) and the metrics behind them."""

from .build import build_evaluator
from .vis import YouTubeVISEvaluator
from .vod import ImageNetVIDEvaluator

__all__ = ["ImageNetVIDEvaluator", "YouTubeVISEvaluator", "build_evaluator"]
