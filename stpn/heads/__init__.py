"""Necks and task heads. They take features and do not care which encoder made them."""

from .neck import build_feature_pyramid

__all__ = ["build_feature_pyramid"]
