"""Tasks: each wires encoder, prompt predictor, neck and head, and calls them in order."""

from .selsa import SelsaDetector
from .tracker import Track, Tracker
from .vis import VideoInstanceSegmenter
from .vod import VideoObjectDetector
from .vot import VideoObjectTracker

__all__ = ["SelsaDetector", "Track", "Tracker", "VideoInstanceSegmenter", "VideoObjectDetector", "VideoObjectTracker"]
