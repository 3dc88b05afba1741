"""Video object detection by SELSA (heads/selsa.py) on prompted or plain features."""

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import ImageList

from ..heads import SelsaROIHeads, join_support
from ..prompting import SupportSampler, evaluating, support_stream
from .vod import VideoObjectDetector


@META_ARCH_REGISTRY.register()
class SelsaDetector(VideoObjectDetector):
    """Prompts give each frame better features; SELSA then lets its proposals aggregate those of other frames.

    Two sets of support frames: those of the prompts (INPUT.SUPPORT), as in VideoObjectDetector, and those whose
    proposals are aggregated (INPUT.SELSA), which are themselves encoded with prompts. Without a prompt_predictor it
    is plain SELSA. Training samples also have "selsa_images" (K, 3, H, W), of the size of "image".

    Testing: proposals of a support frame pass the encoder and the head once; their keys and values are kept while
    the frame is in reach. Both sets follow one policy. A support frame has the prompts of its own place in the
    video, so under "grid" a result waits for the look-ahead of both sets. Under "sliding" every frame is a support
    frame, and those in reach are kept: 4.9 MB each (300 proposals, width 1024), 0.55 GB in all at the default reach.
    """

    @configurable
    def __init__(self, *, selsa_sampler, **parts):
        """selsa_sampler: SupportSampler of the frames to aggregate; parts: see VideoObjectDetector."""
        super().__init__(**parts)
        self.selsa_sampler = selsa_sampler

    def _check_heads(self, roi_heads):
        if not isinstance(roi_heads, SelsaROIHeads):
            raise ValueError(f"SelsaDetector got {type(roi_heads).__name__}; set MODEL.ROI_HEADS.NAME to "
                             "SelsaROIHeads and MODEL.ROI_BOX_HEAD.NAME to SelsaBoxHead")

    @classmethod
    def from_config(cls, cfg):
        support, selsa = cfg.INPUT.SUPPORT, cfg.INPUT.SELSA
        if selsa.TRAIN_FRAMES < 1:
            raise ValueError(f"INPUT.SELSA.TRAIN_FRAMES is {selsa.TRAIN_FRAMES}; SelsaDetector needs at least 1 "
                             "support frame to aggregate (2 as published)")
        parts = super().from_config(cfg)
        # Spread over a video, the two sets take turns: even places are aggregated, odd ones give prompts.
        both = 2 if cfg.MODEL.STPN.ENABLED else 1
        parts["sampler"] = SupportSampler.from_config(support, share=(both - 1, both))
        parts["selsa_sampler"] = SupportSampler.from_config(selsa, support.TEST_POLICY, share=(0, both))
        return parts

    def support_samplers(self, sampler=None):
        policy = (sampler or self.sampler).policy
        return *super().support_samplers(sampler), self.selsa_sampler.with_policy(policy)

    def forward(self, batched_inputs):
        if not self.training:
            return super().forward(batched_inputs)
        targets = [x["instances"].to(self.device) for x in batched_inputs]
        clips = self._frames_to_detect(batched_inputs)
        prompts = self.training_prompts(batched_inputs)  # stage 1
        prompts = prompts and [p.repeat_interleave(clips.shape[1], 0) for p in prompts]
        features = self.neck(self.backbone(clips.flatten(0, 1), prompts=prompts))  # stage 2
        features = {name: f.unflatten(0, clips.shape[:2]) for name, f in features.items()}
        sizes = [tuple(x["image"].shape[-2:]) for x in batched_inputs]
        aggregated = self._aggregated(clips[:, 1:], {name: f[:, 1:] for name, f in features.items()}, sizes)
        images, features = ImageList(clips[:, 0], sizes), {name: f[:, 0] for name, f in features.items()}
        proposals, losses = self.proposal_generator(images, features, targets)
        _, box_losses = self.roi_heads(images, features, proposals, targets, support=aggregated)
        return {**losses, **box_losses}

    def stream(self, frames, sampler=None):
        """As VideoObjectDetector.stream; sampler: of the prompts, and SELSA's frames follow its policy."""
        *_, selsa = self.support_samplers(sampler)
        frames = self.prompted(frames, sampler)
        for t, (item, prompts), support in support_stream(frames, selsa, self._embed_proposals, join_support):
            yield t, item, self.detect(item, prompts, support)

    def detect(self, item, prompts=None, support=None):
        """As VideoObjectDetector.detect; support: as from join_support, without it the frame's own proposals are the
        only ones aggregated."""
        return super().detect(item, prompts, support=support and [support])

    @torch.no_grad()
    def _embed_proposals(self, prompted):
        """(item, prompts) of a support frame -> its proposals' keys and values."""
        _, features, proposals = self._propose(*prompted)
        return self.roi_heads.embed(features, proposals)[0]

    def _frames_to_detect(self, batched_inputs):
        """-> (B, 1 + K, 3, H, W): each sample's key frame, then the K whose proposals it aggregates."""
        clips = [torch.cat([x["image"][None], x["selsa_images"]]) for x in batched_inputs]
        return self.clips(clips)

    def _aggregated(self, clips, features, sizes):
        """Support frames (B, K, 3, H, W), their features {name: (B, K, C, h, w)} and sizes of the B samples
        -> for each sample the keys and values of its K frames. Proposals are found as in testing."""
        K = clips.shape[1]
        features = {name: f.flatten(0, 1) for name, f in features.items()}
        images = ImageList(clips.flatten(0, 1), [size for size in sizes for _ in range(K)])
        with evaluating(self.proposal_generator), torch.no_grad():
            proposals, _ = self.proposal_generator(images, features)
        parts = self.roi_heads.embed(features, proposals)
        return [join_support(parts[i:i + K]) for i in range(0, len(parts), K)]
