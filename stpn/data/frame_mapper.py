"""A frame of a video as a model reads it in a test: resized, as a tensor."""

import numpy as np
import torch
from detectron2.data import transforms as T


class TestFrameMapper:
    """Frame of a video -> {"image": uint8 (3, h, w), "height", "width": before resizing, "frame": Frame}."""

    __test__ = False  # its name looks like a test's

    def __init__(self, *, min_size, max_size, image_format="RGB"):
        """min_size: short side in pixels, 0 to keep the frame's size; max_size: limit of the long side."""
        self.min_size = min_size
        self.max_size = max_size
        self.image_format = image_format

    def __call__(self, frame):
        height, width = frame.image.shape[:2]
        image = frame.image
        if self.min_size:
            # Not the augmentation itself: it draws from numpy's global generator, here in another thread.
            size = T.ResizeShortestEdge.get_output_shape(height, width, self.min_size, self.max_size)
            image = to_size(image, size)
        return {"image": to_tensor(image, self.image_format), "height": height, "width": width,
                "frame": frame}


class TrackingFrameMapper:
    """Frame of a video -> {"frame": Frame, "height", "width"}: a tracker cuts its search region out of the frame as it
    is."""

    def __call__(self, frame):
        height, width = frame.image.shape[:2]
        return {"frame": frame, "height": height, "width": width}


def prepare(cfg):
    """-> TestFrameMapper with the test size of cfg, or a tracker's TrackingFrameMapper."""
    if cfg.MODEL.META_ARCHITECTURE == "VideoObjectTracker":
        return TrackingFrameMapper()
    return TestFrameMapper(min_size=cfg.INPUT.MIN_SIZE_TEST, max_size=cfg.INPUT.MAX_SIZE_TEST,
                           image_format=cfg.INPUT.FORMAT)


def to_tensor(image, image_format="RGB"):
    """uint8 (H, W, 3) RGB -> uint8 tensor (3, H, W) in image_format."""
    if image_format == "BGR":
        image = image[:, :, ::-1]
    return torch.from_numpy(np.array(image.transpose(2, 0, 1)))  # a copy: contiguous, writable


def to_size(image, size):
    """uint8 (H, W, 3) -> the same resized to size (height, width)."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    return T.ResizeTransform(*image.shape[:2], height, width).apply_image(image)
