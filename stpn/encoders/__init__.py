"""Encoders that take video prompts. To add one: subclass PromptableBackbone (base.py) and register it."""

from .base import PromptableBackbone
from .cvt import PromptedCvT
from .swin import PromptedSwin

__all__ = ["PromptableBackbone", "PromptedCvT", "PromptedSwin"]
