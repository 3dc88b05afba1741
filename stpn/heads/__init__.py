"""Necks and task heads. They take features and do not care which encoder made them."""

from .association import TrackMemory, match_embeddings
from .mask2former import Mask2FormerHead, build_criterion, build_mask2former_head
from .mask_store import MaskStore
from .masks import encode_mask, resize_masks
from .neck import build_feature_pyramid
from .selsa import SelsaBoxHead, SelsaROIHeads, join_support
from .tracking import CornerHead, ScoreHead, ciou_loss, precise_roi_pool

__all__ = [
    "CornerHead", "Mask2FormerHead", "MaskStore", "ScoreHead", "SelsaBoxHead", "SelsaROIHeads", "TrackMemory",
    "build_criterion", "build_feature_pyramid", "build_mask2former_head", "ciou_loss", "encode_mask", "join_support",
    "match_embeddings", "precise_roi_pool", "resize_masks",
]  # fmt: skip
