"""VideoPredictor: a trained model on a video file, folder, camera or arrays, frame by frame."""

from __future__ import annotations

import logging

import torch

from ..data.mapper import prepare
from ..data.source import open_source
from ..errors import InputError
from ..prompting.sampling import POLICIES
from .checkpoint import load_weights
from .class_names import class_names
from .model import build_model
from .readable_frames import FrameResult, ReadableFrames

logger = logging.getLogger(__name__)


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
        self._tracks = hasattr(self.model, "segment")  # follows objects, and judges them over the whole video
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
        """-> list of the Instances of every frame; of a segmenter one result for the video:

        {"image_size": (H, W), "pred_scores": n numbers, falling, "pred_labels": n class numbers, "pred_ids": n track
        numbers, "pred_masks": n lists with a COCO RLE {"size", "counts": str} for each frame, None where the track is
        not seen or the frame could not be read}. Scores are those of the whole video, other than in stream.

        A video without a frame is an empty list; of a segmenter, for which it has no size, InputError.
        """
        if not self._tracks:
            return [result.predictions for result in self.stream(source)]
        opened = open_source(source)
        return self._segment(opened, self.sampler(opened), owned=opened is not source)

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
        frames = ReadableFrames(source, self._prepare, tracked=self._tracks)
        # A window of frames would hold back those of a camera until it is full.
        at_once = {"window": 1} if self._tracks and source.kind == "camera" else {}
        results = self.model.stream(frames, sampler, **at_once)
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

    def _segment(self, source, sampler, *, owned):
        frames = ReadableFrames(source, self._prepare, tracked=True)
        try:
            found = self.model.segment(frames, sampler)
        except Exception:
            if frames.failure is None and not frames.read:
                raise InputError(f"{source.name} holds 0 frames that can be read; expected at least one: see that it "
                                 "is not empty, and that other programs play it") from None
            if frames.failure is None:
                raise
        finally:
            frames.close()
            if owned:
                source.close()
        if frames.failure is not None:
            raise frames.failure
        return {**found, "pred_masks": [frames.with_gaps(masks) for masks in found["pred_masks"]]}


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
