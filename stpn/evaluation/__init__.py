"""Evaluators (detectron2's DatasetEvaluator interface) and the metrics behind them."""

from .build import build_evaluator
from .vod import ImageNetVIDEvaluator

__all__ = ["ImageNetVIDEvaluator", "build_evaluator"]
