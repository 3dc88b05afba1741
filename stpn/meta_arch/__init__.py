"""Tasks: each wires encoder, prompt predictor, neck and head, and calls them in order."""

from .selsa import SelsaDetector
from .vis import VideoInstanceSegmenter
from .vod import VideoObjectDetector

__all__ = ["SelsaDetector", "VideoInstanceSegmenter", "VideoObjectDetector"]
