"""Video object detection: prompted encoder, FPN and detectron2's Faster R-CNN heads, unmodified."""

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone, build_proposal_generator, build_roi_heads
from detectron2.modeling.postprocessing import detector_postprocess
from torch import nn

from ..heads import SelsaBoxHead, SelsaROIHeads, build_feature_pyramid
from ..prompting import PromptedFrames, SupportSampler, build_prompt_predictor, embed_support
from .clip import log_prompts, normalise, pad_clips, pad_images, shrink


@META_ARCH_REGISTRY.register()
class VideoObjectDetector(nn.Module):
    """STPN with Faster R-CNN; without a prompt_predictor it is the plain per-frame baseline.

    Training: a list of dicts (stpn.data.mapper): "image" (3, H, W), "support_images" (K, 3, H', W'),
        "instances" -> dict of losses.
    Testing: a list of videos, each {"frames": ...} as support_stream takes them -> for each video a list
        with the Instances of each frame (pred_boxes XYXY in pixels of the original frame, scores,
        pred_classes), on the CPU.
    """

    @configurable
    def __init__(self, *, backbone, prompt_predictor, neck, proposal_generator, roi_heads, sampler,
                 support_resize, support_grad, pixel_mean, pixel_std):
        """sampler: SupportSampler for testing. support_resize: size of support frames relative to key frames
        when testing (in training the mapper has done it). pixel_mean, pixel_std: RGB, of 0..255 images."""
        super().__init__()
        self._check_heads(roi_heads)
        self.backbone = backbone
        self.prompt_predictor = prompt_predictor
        self.neck = neck
        self.proposal_generator = proposal_generator
        self.roi_heads = roi_heads
        self.sampler = sampler
        self.support_resize = support_resize
        self.support_grad = support_grad
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), persistent=False)

    @classmethod
    def from_config(cls, cfg):
        backbone = build_backbone(cfg)
        neck = build_feature_pyramid(cfg, backbone)
        support = cfg.INPUT.SUPPORT
        if support.RESIZE <= 0:
            raise ValueError(f"INPUT.SUPPORT.RESIZE is {support.RESIZE}; expected a factor above 0")
        return {
            "backbone": backbone, "neck": neck,
            "prompt_predictor": build_prompt_predictor(cfg, backbone),
            "proposal_generator": build_proposal_generator(cfg, neck.output_shape()),
            "roi_heads": build_roi_heads(cfg, neck.output_shape()),
            "sampler": SupportSampler.from_config(support),
            "support_resize": support.RESIZE, "support_grad": cfg.MODEL.STPN.SUPPORT_GRAD,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN, "pixel_std": cfg.MODEL.PIXEL_STD,
        }

    def _check_heads(self, roi_heads):
        if isinstance(roi_heads, SelsaROIHeads) or isinstance(getattr(roi_heads, "box_head", None), SelsaBoxHead):
            raise ValueError("VideoObjectDetector has no support frames for SELSA's heads; set MODEL.META_ARCHITECTURE "
                             "to SelsaDetector, or MODEL.ROI_HEADS.NAME to StandardROIHeads and "
                             "MODEL.ROI_BOX_HEAD.NAME to FastRCNNConvFCHead")

    @property
    def device(self):
        return self.pixel_mean.device

    def support_samplers(self, sampler=None):
        """SupportSamplers that a stream with this sampler (None: the model's own) uses, in their order of reading
        ahead; () where no frame but the current one counts."""
        return () if self.prompt_predictor is None else (sampler or self.sampler,)

    def forward(self, batched_inputs):
        if not self.training:
            return [[found for _, _, found in self.stream(video["frames"])] for video in batched_inputs]
        images = self._images([x["image"] for x in batched_inputs])
        targets = [x["instances"].to(self.device) for x in batched_inputs]
        prompts = self._training_prompts(batched_inputs)  # stage 1
        features = self.neck(self.backbone(images.tensor, prompts=prompts))  # stage 2
        proposals, losses = self.proposal_generator(images, features, targets)
        _, box_losses = self.roi_heads(images, features, proposals, targets)
        return {**losses, **box_losses}

    def _training_prompts(self, batched_inputs):
        """-> prompts of each sample, None for the baseline."""
        if self.prompt_predictor is None:
            return None
        clips = self._clips([x["support_images"] for x in batched_inputs])
        support = embed_support(self.backbone, clips, grad=self.support_grad)
        prompts = self.prompt_predictor(support)
        log_prompts(prompts)
        return prompts

    def stream(self, frames, sampler=None):
        """Yield (t, item, Instances) for each frame of one video; memory does not grow with its length.

        frames: as in support_stream; its items are dicts {"image": (3, h, w) uint8, "height", "width"}, where
        height and width are the original frame's, in which the boxes are returned. Instances are on the CPU.
        sampler: SupportSampler instead of the model's own, for this video only.
        """
        for t, (item, prompts) in enumerate(self._prompted(frames, sampler)):
            yield t, item, self.detect(item, prompts)

    @torch.no_grad()
    def detect(self, item, prompts=None, **heads):
        """One frame, with prompts or plain -> Instances on the CPU in pixels of the original frame.

        heads: what else the RoI heads take.
        """
        images, features, proposals = self._propose(item, prompts)
        (found,), _ = self.roi_heads(images, features, proposals, **heads)
        return detector_postprocess(found, item["height"], item["width"]).to("cpu")

    def _propose(self, item, prompts):
        """One frame -> ImageList of 1, features {name: (1, C, h, w)}, proposals of the 1 image."""
        images = self._images([item["image"]])
        features = self.neck(self.backbone(images.tensor, prompts=prompts))
        proposals, _ = self.proposal_generator(images, features)
        return images, features, proposals

    def _prompted(self, frames, sampler=None):
        """-> PromptedFrames: pairs (item, prompts) of one video."""
        sampler = None if self.prompt_predictor is None else sampler or self.sampler
        return PromptedFrames(frames, sampler, self._embed_frame, self._predict_prompts)

    @torch.no_grad()
    def _embed_frame(self, item):
        """-> (h, w, C)."""
        image = shrink(item["image"].to(self.device), self.support_resize)
        return embed_support(self.backbone, self._clips([image[None]]))[0, 0]

    @torch.no_grad()
    def _predict_prompts(self, support):
        return self.prompt_predictor(support)

    def _images(self, images):
        images = [normalise(x.to(self.device), self.pixel_mean, self.pixel_std) for x in images]
        return pad_images(images, self.backbone.size_divisibility)

    def _clips(self, clips):
        clips = [normalise(x.to(self.device), self.pixel_mean, self.pixel_std) for x in clips]
        return pad_clips(clips, self.backbone.size_divisibility)
