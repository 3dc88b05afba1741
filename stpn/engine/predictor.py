"""VideoPredictor: a trained model on a video file, folder, camera or arrays, frame by frame."""

from __future__ import annotations

import itertools
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
from .start_boxes import check_boxes, check_given, is_tracker

logger = logging.getLogger(__name__)


class VideoPredictor:
    """
    cfg: config of the model; it is not changed.
    weights: checkpoint instead of cfg.MODEL.WEIGHTS.
    policy: which support frames are taken ("grid", "causal", "spread", "sliding"); by default "causal" for a
        camera and the model's own (INPUT.SUPPORT.TEST_POLICY) for everything else. A tracker has "causal" alone.
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
        self._follows = is_tracker(self.model)  # follows targets whose boxes it is given
        self._fields = ("pred_ids", "pred_masks") if self._tracks else ("pred_ids", "pred_lost") * self._follows
        self._policy = self._checked_policy(policy)
        self._prepare = prepare(self.cfg)

    def stream(self, source, *, boxes=None):
        """Iterator of FrameResult over source (a VideoSource, or what open_source takes), in order.

        boxes: of a tracker's targets, [[x, y, w, h], ...] in pixels of the first frame that can be read (frames before
        it have empty results), or a function that makes them from its image, np.uint8 (H, W, 3) RGB. InputError for
        a tracker without boxes and for boxes that it cannot begin with; other models take none.

        Memory does not grow with the length of the video: the frames that the policy reads ahead and the
        embeddings of the support frames in reach are kept. The iterator may be dropped at any point.
        When the source fails in mid-video, all frames before are yielded first and the error is raised then.
        """
        check_given(boxes, self.model)
        opened = open_source(source)
        sampler = self.sampler(opened)  # a policy that does not fit is told before the first frame
        return self._walk(opened, sampler, boxes, owned=opened is not source)

    def __call__(self, source, *, boxes=None):
        """-> list of the Instances of every frame (boxes: as in stream); of a segmenter one result for the video:

        {"image_size": (H, W), "pred_scores": n numbers, falling, "pred_labels": n class numbers, "pred_ids": n track
        numbers, "pred_masks": n lists with a COCO RLE {"size", "counts": str} for each frame, None where the track is
        not seen or the frame could not be read}. Scores are those of the whole video, other than in stream.

        A video without a frame is an empty list; of a segmenter, for which it has no size, InputError.
        """
        if not self._tracks:
            return [result.predictions for result in self.stream(source, boxes=boxes)]
        check_given(boxes, self.model)
        opened = open_source(source)
        return self._segment(opened, self.sampler(opened), owned=opened is not source)

    def sampler(self, source):
        """SupportSampler used for this source, None for the baseline. Raises InputError if it cannot work."""
        if not self.model.support_samplers():
            return None
        if self._follows:
            return self.model.sampler
        policy = self._policy or ("causal" if source.kind == "camera" else self.model.sampler.policy)
        if policy == "spread" and (source.length is None or not source.replayable):
            raise InputError("policy 'spread' needs the whole video before the first frame, and "
                             f"{source.name} has no known end; choose causal, or grid or sliding "
                             "(which answer some frames late)")
        return self.model.sampler.with_policy(policy)

    def _checked_policy(self, policy):
        if self._follows and policy not in (None, "causal"):
            raise InputError(f"the support policy is {policy}, but a tracker knows where its target was in past frames "
                             "alone; choose causal, or leave the policy out")
        return policy

    def _walk(self, source, sampler, boxes, *, owned):
        frames = ReadableFrames(source, self._prepare, fields=self._fields)
        results = self._follow(frames, boxes) if self._follows else self._find(frames, sampler, source)
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

    def _find(self, frames, sampler, source):
        """-> what the model's stream yields."""
        delay = sum(used.look_ahead or 0 for used in self.model.support_samplers(sampler))
        if delay and source.kind == "camera":
            logger.info("policy %s looks ahead: results come %d frames (%.1f s) after their frame",
                        sampler.policy, delay, delay / source.fps)
        if any(used.policy == "spread" for used in self.model.support_samplers(sampler)) and not frames.any():
            for _ in frames:  # those that cannot be read have their place among the results
                pass
            return
        # A window of frames would hold back those of a camera until it is full.
        at_once = {"window": 1} if self._tracks and source.kind == "camera" else {}
        yield from self.model.stream(frames, sampler, **at_once)

    def _follow(self, frames, boxes):
        """What a tracker's stream yields, its targets those of the first frame that reaches it."""
        passing = iter(frames)
        first = next(passing, None)
        if first is not None:
            starts = check_boxes(boxes, first["frame"])
            if frames.gaps:
                logger.info("the target%s in frame %d, the first that could be read",
                            "s start" if len(starts) > 1 else " starts", first["frame"].index)
            yield from self.model.stream(itertools.chain([first], passing), starts)

    def _segment(self, source, sampler, *, owned):
        frames = ReadableFrames(source, self._prepare, fields=self._fields)
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
