"""Necks and task heads. They take features and do not care which encoder made them."""

from .neck import build_feature_pyramid
from .selsa import SelsaBoxHead, SelsaROIHeads, join_support

__all__ = ["SelsaBoxHead", "SelsaROIHeads", "build_feature_pyramid", "join_support"]
