"""VideoPredictor: a trained model on a video file, folder, camera or arrays, frame by frame."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from ..data.mapper import prepare
from ..data.source import open_source
from ..errors import InputError
from ..prompting.sampling import POLICIES
from .checkpoint import load_weights
from .class_names import class_names
from .model import build_model

logger = logging.getLogger(__name__)


@dataclass
class FrameResult:
    """index from 0; time in seconds; image: the original frame, np.uint8 (H, W, 3) RGB.
    predictions: detectron2 Instances on the CPU in pixels of image (pred_boxes XYXY, scores, pred_classes).
    error: why the frame could not be read; then image is black and predictions are empty."""

    index: int
    time: float
    image: np.ndarray
    predictions: Instances
    error: str | None = None


class VideoPredictor:
    """
    cfg: config of the model; it is not changed.
    weights: checkpoint instead of cfg.MODEL.WEIGHTS.
    policy: which support frames are taken ("grid", "causal", "spread", "sliding"); by default "causal" for a
        camera and the model's own (INPUT.SUPPORT.TEST_POLICY) for everything else.
    model: a built model instead of one made from cfg.

    A predictor keeps nothing of the videos it has seen, so any number of streams may run side by side.
    """

    def __init__(self, cfg, *, weights=None, policy=None, model=None):
        if policy is not None and policy not in POLICIES:
            raise InputError(f"support policy {policy!r} is not known; expected one of {', '.join(POLICIES)}")
        self.cfg = cfg.clone()
        self.model = _build(self.cfg, weights) if model is None else model
        self.class_names = class_names(self.cfg)
        self._policy = policy
        self._prepare = prepare(self.cfg)

    def stream(self, source):
        """Iterator of FrameResult over source (a VideoSource, or what open_source takes), in order.

        Memory does not grow with the length of the video: the frames that the policy reads ahead and the
        embeddings of the support frames in reach are kept. The iterator may be dropped at any point.
        When the source fails in mid-video, all frames before are yielded first and the error is raised then.
        """
        opened = open_source(source)
        sampler = self.sampler(opened)  # a policy that does not fit is told before the first frame
        return self._walk(opened, sampler, owned=opened is not source)

    def __call__(self, source):
        """-> list of the Instances of every frame."""
        return [result.predictions for result in self.stream(source)]

    def sampler(self, source):
        """SupportSampler used for this source, None for the baseline. Raises InputError if it cannot work."""
        if not self.model.support_samplers():
            return None
        policy = self._policy or ("causal" if source.kind == "camera" else self.model.sampler.policy)
        if policy == "spread" and (source.length is None or not source.replayable):
            raise InputError("policy 'spread' needs the whole video before the first frame, and "
                             f"{source.name} has no known end; choose causal, or grid or sliding "
                             "(which answer some frames late)")
        return self.model.sampler.with_policy(policy)

    def _walk(self, source, sampler, *, owned):
        delay = sum(used.look_ahead or 0 for used in self.model.support_samplers(sampler))
        if delay and source.kind == "camera":
            logger.info("policy %s looks ahead: results come %d frames (%.1f s) after their frame",
                        sampler.policy, delay, delay / source.fps)
        frames = _ReadableFrames(source, self._prepare)
        results = self.model.stream(frames, sampler)
        like = None
        try:
            for _, item, found in results:
                frame = item["frame"]
                yield from frames.take_skipped(before=frame.index, like=frame.image)
                like = frame.image
                yield FrameResult(frame.index, frame.time, frame.image, found)
            yield from frames.take_skipped(before=float("inf"), like=like)
        finally:
            results.close()
            frames.close()
            if owned:
                source.close()
        if frames.failure is not None:
            raise frames.failure


class _ReadableFrames:
    """A source as the model takes it: prepared frames only of what could be read.

    An unreadable frame must not reach the model, nor become a support; it waits in `_skipped` to be put back
    in its place among the results. An error that ends the source waits in `failure`, so that the frames read
    before it are still processed.
    """

    def __init__(self, source, prepare):
        self.length = source.length
        self.failure = None
        self._source = source
        self._prepare = prepare
        self._skipped = deque()
        self._passing = None

    def __iter__(self):
        self._passing = self._run()
        return self._passing

    def select(self, indices):
        return map(self._prepare, self._source.select(indices))

    def close(self):
        if self._passing is not None:
            self._passing.close()

    def take_skipped(self, *, before, like):
        """FrameResults of the unreadable frames up to this index, black and of the size of like."""
        shape = (16, 16, 3) if like is None else like.shape
        while self._skipped and self._skipped[0].index < before:
            frame = self._skipped.popleft()
            black = np.zeros(shape, np.uint8)
            yield FrameResult(frame.index, frame.time, black, _nothing(shape[:2]), frame.error)

    def _run(self):
        frames = iter(self._source)
        try:
            for frame in frames:
                if frame.error is None:
                    yield self._prepare(frame)
                else:
                    self._skipped.append(frame)
        except Exception as error:
            self.failure = error
        finally:
            if hasattr(frames, "close"):
                frames.close()


def _nothing(size):
    """Instances of an empty frame of size (H, W)."""
    return Instances(size, pred_boxes=Boxes(torch.zeros(0, 4)), scores=torch.zeros(0),
                     pred_classes=torch.zeros(0, dtype=torch.int64))


def _build(cfg, weights):
    if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
        logger.warning("MODEL.DEVICE is %s but there is no GPU here; the CPU is used", cfg.MODEL.DEVICE)
        cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg).eval()
    weights = weights or cfg.MODEL.WEIGHTS
    if weights:
        load_weights(model, weights)
    else:
        logger.warning("no weights given (--weights or MODEL.WEIGHTS): what a random model finds is random")
    return model
