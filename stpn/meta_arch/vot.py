"""Single-object tracking: prompted CvT with mixed attention, MixFormer's corner head and score head.

The authors of STPN published figures of a tracker and no code; which frames support it and where prompts enter CvT is
our reading (PastSampler; encoders/cvt.py). A difference to MixFormer: stochastic depth is drawn for templates and
search regions apart, as they pass the encoder one after the other; the published training draws it for both together.
"""

import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from detectron2.structures import Boxes, Instances

from ..encoders import PromptedCvT
from ..heads import CornerHead, ScoreHead, ciou_loss
from ..prompting import PastSampler, embed_support, evaluating
from .prompted import PromptedModel
from .tracker import Tracker, TrackerSettings
from .tracker_memory import SOURCES, template_tokens

STAGES = ("box", "score")


@META_ARCH_REGISTRY.register()
class VideoObjectTracker(PromptedModel):
    """STPN with MixFormer's heads; without a prompt_predictor it is the plain baseline, MixFormer.

    Training: a list of dicts (stpn.data.tracking_mapper): "image" (3, S, S) search region, "templates" (n, 3, s, s),
        "support_images" (K, 3, S, S), "box" (4,) x1 y1 x2 y2 relative to the search region, "present" 1 or 0
        -> dict of losses.
    Testing: a list of sequences, each {"frames": ..., "box": x, y, w, h of frame 0} -> for each what follow returns.
    """

    @configurable
    def __init__(self, *, box_head, score_branch, stage, loss_weights, settings, support_source, **prompting):
        """score_branch: ScoreHead or None. stage: which part is trained, see STAGES. loss_weights: of "ciou", "l1",
        "score". settings: TrackerSettings. support_source: one of SOURCES. prompting: see PromptedModel."""
        super().__init__(**prompting)
        self.box_head = box_head
        self.score_branch = score_branch
        self.stage = stage
        self.loss_weights = loss_weights
        self.settings = settings
        self.support_source = support_source
        for name, parameter in self.named_parameters():
            if name.startswith("score_branch.") != (stage == "score"):
                parameter.requires_grad_(False)

    @classmethod
    def from_config(cls, cfg):
        _check(cfg)
        backbone, node = build_backbone(cfg), cfg.MODEL.MIXFORMER
        if not isinstance(backbone, PromptedCvT):
            raise ValueError(f"MODEL.BACKBONE.NAME is {cfg.MODEL.BACKBONE.NAME}, which takes no templates; a tracker "
                             "needs PromptedCvT")
        heads = {
            # The heads first: one seed gives them the same weights with and without a predictor.
            "box_head": CornerHead(backbone.embed_width, width=node.HEAD_DIM, freeze_bn=node.HEAD_FREEZE_BN),
            "score_branch": ScoreHead(backbone.embed_width) if node.SCORE_HEAD else None,
        }
        return {
            **heads, "stage": node.STAGE, "settings": TrackerSettings.from_config(cfg),
            "loss_weights": {"ciou": node.CIOU_WEIGHT, "l1": node.L1_WEIGHT, "score": node.SCORE_WEIGHT},
            "support_source": cfg.INPUT.SUPPORT.SOURCE,
            **cls.prompting_config(cfg, backbone, sampler=PastSampler),
        }

    def train(self, mode=True):
        """In the second stage what is frozen measures: its running statistics stay, but the encoder keeps its
        stochastic depth, as published."""
        super().train(mode)
        if self.stage == "score":
            for part in (self.prompt_predictor, self.box_head):
                if part is not None:
                    part.eval()
        return self

    def forward(self, batched_inputs):
        if not self.training:
            return [self.follow(sequence["frames"], sequence["box"]) for sequence in batched_inputs]
        images = self.images([x["image"] for x in batched_inputs]).tensor
        crops = self.clips([x["templates"] for x in batched_inputs])
        templates = self.backbone.embed_templates(crops)
        prompts = self.training_prompts(batched_inputs, crops)  # stage 1
        features = self.backbone(images, prompts=prompts, templates=templates)  # stage 2
        return self._losses(features[self.backbone.embed_feature], templates, batched_inputs)

    def training_prompts(self, batched_inputs, crops):
        """crops: (B, n, 3, s, s) templates, normalised -> prompts of each sample, None for the baseline."""
        if self.prompt_predictor is None:
            return None
        # Once more and without stochastic depth: what predicts the prompts is a measurement, as in testing.
        with evaluating(self.backbone), torch.set_grad_enabled(self.support_grad):
            templates = self.backbone.embed_templates(crops)
        if self.support_source == "templates":
            return self.logged_prompts(template_tokens(templates))
        clips = self.clips([x["support_images"] for x in batched_inputs])
        templates = templates.repeat(clips.shape[1])
        return self.logged_prompts(embed_support(self.backbone, clips, grad=self.support_grad, templates=templates))

    def support_samplers(self, sampler=None):
        """The model's PastSampler, () where no frame is a support: the baseline, and prompts from templates."""
        return () if self.prompt_predictor is None or self.support_source == "templates" else (self.sampler,)

    def tracker(self):
        """-> Tracker of one target; any number may run side by side."""
        return Tracker(self)

    def score(self, search, templates, boxes):
        """search: (B, C, h, w) map; boxes: (B, 4) x1 y1 x2 y2 relative to the search region -> (B,) 0..1: is the
        target there? None without a score head."""
        if self.score_branch is None:
            return None
        return self.score_branch(search, templates.maps[:, 0], boxes).sigmoid()

    def follow(self, frames, box):
        """One target through a whole sequence. frames: iterable of items {"frame": Frame}; box: x, y, w, h of the
        first, pixels. -> {"boxes": (T, 4) float64 x, y, w, h, the first as given, "times": (T,) seconds of the
        tracker alone, "scores": (T,) 0..1, NaN without a score head}; memory: the results."""
        tracker, rows = self.tracker(), []
        for t, item in enumerate(frames):
            image, start = item["frame"].image, self._clock()
            found = tracker.track(image) if t else tracker.initialize(image, box)
            rows.append((*found.box, self._clock() - start, _number(found.score)))
        table = np.array(rows, np.float64).reshape(-1, 6)
        return {"boxes": table[:, :4], "times": table[:, 4], "scores": table[:, 5]}

    def stream(self, frames, boxes):
        """Yield (t, item, Instances) for each frame of one video, on line; memory does not grow with its length.

        frames: iterable of items {"frame": Frame}; boxes: x, y, w, h of each of n targets in the first frame, pixels.
        Instances, on the CPU: pred_boxes (n, 4) XYXY in pixels of the frame, scores (n,) 0..1 (1 in frame 0, NaN
        without a score head), pred_lost (n,) bool: the score is below the settings' lost_score, pred_ids 0..n-1,
        pred_classes zeros. A target that is lost is looked for all the same.
        """
        trackers = [self.tracker() for _ in boxes]
        for t, item in enumerate(frames):
            image = item["frame"].image
            tracks = [tracker.track(image) if t else tracker.initialize(image, box)
                      for tracker, box in zip(trackers, boxes, strict=True)]
            yield t, item, _instances(tracks, image.shape[:2], self.settings.lost_score)

    def _clock(self):
        """Seconds, when all that was begun is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _losses(self, search, templates, batched_inputs):
        targets = torch.stack([x["box"] for x in batched_inputs]).to(search)
        if self.stage == "score":
            present = torch.tensor([x["present"] for x in batched_inputs]).to(search)
            logits = self.score_branch(search, templates.maps[:, 0], targets)
            loss = F.binary_cross_entropy_with_logits(logits.float(), present.float())
            return {"loss_score": self.loss_weights["score"] * loss}
        boxes = self.box_head(search).float()
        targets = targets.float()
        return {"loss_ciou": self.loss_weights["ciou"] * ciou_loss(boxes, targets)[0],
                "loss_l1": self.loss_weights["l1"] * F.l1_loss(boxes, targets)}


def _instances(tracks, size, lost_score):
    boxes = torch.tensor([track.box for track in tracks], dtype=torch.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores = torch.tensor([_number(track.score) for track in tracks])
    return Instances(size, pred_boxes=Boxes(boxes.float()), scores=scores, pred_lost=scores < lost_score,
                     pred_classes=torch.zeros(len(tracks), dtype=torch.int64), pred_ids=torch.arange(len(tracks)))


def _number(score):
    return math.nan if score is None else score


def _check(cfg):
    node = cfg.MODEL.MIXFORMER
    if node.STAGE not in STAGES:
        raise ValueError(f"MODEL.MIXFORMER.STAGE is {node.STAGE!r}; expected {' or '.join(STAGES)}")
    if node.STAGE == "score" and not node.SCORE_HEAD:
        raise ValueError("MODEL.MIXFORMER.STAGE is score, but SCORE_HEAD is False: there is nothing to train; set "
                         "MODEL.MIXFORMER.SCORE_HEAD True")
    if cfg.INPUT.SUPPORT.SOURCE not in SOURCES:
        raise ValueError(f"INPUT.SUPPORT.SOURCE is {cfg.INPUT.SUPPORT.SOURCE!r}; expected one of {', '.join(SOURCES)}")
    _check_resize(cfg.INPUT.SUPPORT, cfg.INPUT.TRACKING.SEARCH_SIZE)
    if cfg.INPUT.FORMAT != "RGB":
        raise ValueError(f"INPUT.FORMAT is {cfg.INPUT.FORMAT}; a tracker's frames are RGB: set it to that")


def _check_resize(support, search_size):
    if support.RESIZE == 1.0:
        return
    if support.SOURCE != "memory":
        raise ValueError(f"INPUT.SUPPORT.RESIZE is {support.RESIZE}, but SOURCE {support.SOURCE} has no support frames "
                         "of another size; set it to 1.0, or SOURCE to memory")
    if round(search_size * support.RESIZE, 6) % 16 or support.RESIZE <= 0:
        raise ValueError(f"INPUT.SUPPORT.RESIZE is {support.RESIZE}, which makes support regions of "
                         f"{search_size * support.RESIZE:g} pixels a side; expected a multiple of 16")
