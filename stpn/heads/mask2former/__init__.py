"""Mask2Former's head and loss in plain PyTorch, with the official parameter names: nothing to compile."""

from .head import Mask2FormerHead, build_criterion, build_mask2former_head

__all__ = ["Mask2FormerHead", "build_criterion", "build_mask2former_head"]
