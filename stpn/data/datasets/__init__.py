"""Annotation files -> detectron2 dataset dicts, one file a data set."""

from .imagenet_det import load_imagenet_det
from .imagenet_vid import load_imagenet_vid
from .video_json import inspect_video_json, load_video_json, write_video_json

__all__ = ["inspect_video_json", "load_imagenet_det", "load_imagenet_vid", "load_video_json", "write_video_json"]
