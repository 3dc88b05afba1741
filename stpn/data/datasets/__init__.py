"""Annotation files -> detectron2 dataset dicts, one file a data set."""

from .got10k import load_got10k
from .imagenet_det import load_imagenet_det
from .imagenet_vid import load_imagenet_vid
from .lasot import load_lasot
from .otb import load_otb
from .trackingnet import load_trackingnet
from .video_json import inspect_video_json, load_video_json, write_video_json
from .ytvis import load_ytvis

__all__ = ["inspect_video_json", "load_got10k", "load_imagenet_det", "load_imagenet_vid", "load_lasot",
           "load_otb", "load_trackingnet", "load_video_json", "load_ytvis", "write_video_json"]
