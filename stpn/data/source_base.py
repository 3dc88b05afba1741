"""VideoSource: what every kind of input looks like to the model, and arrays as the simplest kind."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

import numpy as np

from ..errors import InputError
from .frame_reader import DEFAULT_FPS, Frame

ON_ERROR = ("stop", "skip")


class VideoSource:
    """Frames of one video in order: `length`, iteration, `select(indices)`, `close()`; a context manager.

    name: for file names and messages. kind: "file", "folder", "glob", "camera" or "arrays".
    fps: frames per second, > 0. length: frames that the source announces, None when it does not.
    replayable: a second pass is possible (not for cameras and generators).
    warnings: what the latest pass and the opening met, one line each, complete once the pass has ended.
    partial: the latest pass gave fewer frames than announced, or unreadable ones.

    Iteration yields Frame; with on_error="skip" an unreadable frame is a Frame with image None and `error`
    set, so that indices stay those of the video.
    """

    def __init__(self, *, name, kind, fps=None, length=None, on_error="stop", replayable=True):
        if on_error not in ON_ERROR:
            raise InputError(f"on_error is {on_error!r}; expected one of {', '.join(ON_ERROR)}")
        if fps is not None and not (math.isfinite(fps) and fps > 0):
            raise InputError(f"fps is {fps}; expected a number above 0")
        self.name = name
        self.kind = kind
        self.fps = float(fps or DEFAULT_FPS)
        self.length = length
        self.on_error = on_error
        self.replayable = replayable
        self.partial = False
        self.warnings = []
        self._opening_warnings = []

    def __iter__(self):
        self.warnings[:] = self._opening_warnings
        self.partial = False
        return self._frames(report=True)

    def select(self, indices):
        """Yield exactly one Frame for each of these indices, in ascending order.

        They serve as support frames, which must exist: where the wanted frame is unreadable or lies behind
        the end, the nearest readable one before it (at the start: after it) stands in, under its index.
        """
        if not self.replayable:
            raise InputError(f"{self.name} can be read only once, in order; choose the policy causal, grid "
                             "or sliding for it")
        return self._select(deque(sorted(set(indices))))

    def close(self):
        """Release what is open. Passes close their own files when they end or are abandoned."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _frames(self, *, report):
        """One pass, a generator of Frame; only with report may it change warnings and partial."""
        raise NotImplementedError

    def _select(self, wanted):
        nearest, passing = None, self._frames(report=False)
        try:
            for frame in passing:
                nearest = nearest if frame.error else frame
                while wanted and nearest is not None and frame.index >= wanted[0]:
                    yield replace(nearest, index=wanted.popleft())
                if not wanted:
                    return
        finally:
            passing.close()
        while wanted and nearest is not None:
            yield replace(nearest, index=wanted.popleft())

    def _warn(self, text, *, partial=False):
        self.warnings.append(text)
        self.partial |= partial


class ArraySource(VideoSource):
    """Pictures that are in memory or made on the fly: np.uint8 (H, W, 3) RGB or (H, W) grey, or Frame.

    A list, tuple or (T, H, W, 3) array may be passed over many times; a generator only once.
    """

    def __init__(self, images, *, fps=None, on_error="stop"):
        self._images = images
        listed = hasattr(images, "__len__") and hasattr(images, "__getitem__")
        super().__init__(name="arrays", kind="arrays", fps=fps, on_error=on_error, replayable=listed,
                         length=len(images) if listed else None)

    def _frames(self, *, report):
        for index, image in enumerate(self._images):
            if isinstance(image, Frame):
                yield image
            else:
                yield Frame(index=index, time=index / self.fps, image=_as_rgb(image, index))


def _as_rgb(image, index):
    image = np.asarray(image)
    if image.dtype == np.uint8 and image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"frame {index} is an array {image.dtype} of shape {image.shape}; "
                         "expected uint8 (H, W, 3) in RGB order")
    return image
