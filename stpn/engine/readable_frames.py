"""A source whose unreadable frames stay away from the model and keep their place among its results."""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from detectron2.structures import Boxes, Instances


@dataclass
class FrameResult:
    """index from 0; time in seconds; image: the original frame, np.uint8 (H, W, 3) RGB.
    predictions: detectron2 Instances on the CPU in pixels of image (pred_boxes XYXY, scores, pred_classes). Those of
        a segmenter also have pred_masks (n, H, W) bool and pred_ids, the track's number in the whole video; a score
        is the track's by the last frames. Those of a tracker have a box for every target, with pred_ids, the target's
        number, and pred_lost (n,) bool: its score is too low; scores are NaN without a score head.
    error: why the frame could not be read; then image is black and predictions are empty."""

    index: int
    time: float
    image: np.ndarray
    predictions: Instances
    error: str | None = None


class ReadableFrames:
    """A source as the model takes it: prepared frames only of what could be read.

    An unreadable frame must not reach the model, nor become a support; it waits in `_skipped` to be put back
    in its place among the results. An error that ends the source waits in `failure`, so that the frames read
    before it are still processed. read: frames that the model was given; gaps: places of the unreadable ones.
    """

    def __init__(self, source, prepare, *, fields=()):
        """prepare: Frame -> the model's dict. fields: what results hold beside boxes, scores and classes."""
        self.length = source.length
        self.failure = None
        self.read = 0
        self.gaps = []
        self._source = source
        self._prepare = prepare
        self._fields = fields
        self._skipped = deque()
        self._passing = None

    def __iter__(self):
        self._passing = self._run()
        return self._passing

    def select(self, indices):
        return map(self._prepare, self._source.select(indices))

    def any(self):
        """Whether there is a frame that can be read. The source must be replayable."""
        with contextlib.closing(self._source.select([0])) as found:
            return next(found, None) is not None

    def close(self):
        if self._passing is not None:
            self._passing.close()

    def take_skipped(self, *, before, like):
        """FrameResults of the unreadable frames up to this index, black and of the size of like."""
        shape = (16, 16, 3) if like is None else like.shape
        while self._skipped and self._skipped[0].index < before:
            frame = self._skipped.popleft()
            nothing = _nothing(shape[:2], self._fields)
            yield FrameResult(frame.index, frame.time, np.zeros(shape, np.uint8), nothing, frame.error)

    def with_gaps(self, masks):
        """List over the readable frames -> list over all of them, None for the others."""
        masks = iter(masks)
        gaps = set(self.gaps)
        return [None if place in gaps else next(masks) for place in range(self.read + len(gaps))]

    def _run(self):
        frames = iter(self._source)
        try:
            for place, frame in enumerate(frames):
                if frame.error is None:
                    self.read += 1
                    yield self._prepare(frame)
                else:
                    self.gaps.append(place)
                    self._skipped.append(frame)
        except Exception as error:
            self.failure = error
        finally:
            if hasattr(frames, "close"):
                frames.close()


def _nothing(size, fields):
    """Instances of an empty frame of size (H, W)."""
    numbers = torch.zeros(0, dtype=torch.int64)
    empty = {"pred_masks": torch.zeros(0, *size, dtype=torch.bool), "pred_ids": numbers,
             "pred_lost": torch.zeros(0, dtype=torch.bool)}
    return Instances(size, pred_boxes=Boxes(torch.zeros(0, 4)), scores=torch.zeros(0), pred_classes=numbers,
                     **{name: empty[name] for name in fields})
