"""Video data sets, readers, mappers and loaders. Reading order: video.py, mapper.py, build.py, datasets/."""

from .build import build_video_test_loader, build_video_train_loader
from .builtin import register_all
from .frame_mapper import TrackingFrameMapper
from .instance_mapper import VideoInstanceMapper
from .mapper import MAPPER_REGISTRY, TestFrameMapper, VideoDatasetMapper, prepare
from .tracking_mapper import TrackingMapper
from .video import Frame, FrameReader, VideoIndex, read_image

__all__ = ["MAPPER_REGISTRY", "Frame", "FrameReader", "TestFrameMapper", "TrackingFrameMapper", "TrackingMapper",
           "VideoDatasetMapper", "VideoIndex", "VideoInstanceMapper", "build_video_test_loader",
           "build_video_train_loader", "prepare", "read_image", "register_all"]
