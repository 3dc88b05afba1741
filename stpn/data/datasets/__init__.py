"""Annotation files -> detectron2 dataset dicts, one file a data set."""

from .imagenet_det import load_imagenet_det
from .imagenet_vid import load_imagenet_vid

__all__ = ["load_imagenet_det", "load_imagenet_vid"]
