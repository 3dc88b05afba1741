"""Video object detection: prompted encoder, FPN and detectron2's Faster R-CNN heads, unmodified."""

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone, build_proposal_generator, build_roi_heads
from detectron2.modeling.postprocessing import detector_postprocess

from ..heads import SelsaBoxHead, SelsaROIHeads, build_feature_pyramid
from .prompted import PromptedStream


@META_ARCH_REGISTRY.register()
class VideoObjectDetector(PromptedStream):
    """STPN with Faster R-CNN; without a prompt_predictor it is the plain per-frame baseline.

    Training: a list of dicts (stpn.data.mapper): "image" (3, H, W), "support_images" (K, 3, H', W'),
        "instances" -> dict of losses.
    Testing: a list of videos, each {"frames": ...} as support_stream takes them -> for each video a list
        with the Instances of each frame (pred_boxes XYXY in pixels of the original frame, scores,
        pred_classes), on the CPU.
    """

    @configurable
    def __init__(self, *, neck, proposal_generator, roi_heads, **prompting):
        """prompting: see PromptedModel."""
        super().__init__(**prompting)
        self._check_heads(roi_heads)
        self.neck = neck
        self.proposal_generator = proposal_generator
        self.roi_heads = roi_heads

    @classmethod
    def from_config(cls, cfg):
        backbone = build_backbone(cfg)
        neck = build_feature_pyramid(cfg, backbone)
        return {
            **cls.prompting_config(cfg, backbone), "neck": neck,
            "proposal_generator": build_proposal_generator(cfg, neck.output_shape()),
            "roi_heads": build_roi_heads(cfg, neck.output_shape()),
        }

    def _check_heads(self, roi_heads):
        if isinstance(roi_heads, SelsaROIHeads) or isinstance(getattr(roi_heads, "box_head", None), SelsaBoxHead):
            raise ValueError("VideoObjectDetector has no support frames for SELSA's heads; set MODEL.META_ARCHITECTURE "
                             "to SelsaDetector, or MODEL.ROI_HEADS.NAME to StandardROIHeads and "
                             "MODEL.ROI_BOX_HEAD.NAME to FastRCNNConvFCHead")

    def forward(self, batched_inputs):
        if not self.training:
            return [[found for _, _, found in self.stream(video["frames"])] for video in batched_inputs]
        images = self.images([x["image"] for x in batched_inputs])
        targets = [x["instances"].to(self.device) for x in batched_inputs]
        prompts = self.training_prompts(batched_inputs)  # stage 1
        features = self.neck(self.backbone(images.tensor, prompts=prompts))  # stage 2
        proposals, losses = self.proposal_generator(images, features, targets)
        _, box_losses = self.roi_heads(images, features, proposals, targets)
        return {**losses, **box_losses}

    def stream(self, frames, sampler=None):
        """Yield (t, item, Instances) for each frame of one video; memory does not grow with its length.

        frames: as in support_stream; its items are dicts {"image": (3, h, w) uint8, "height", "width"}, where
        height and width are the original frame's, in which the boxes are returned. Instances are on the CPU.
        sampler: SupportSampler instead of the model's own, for this video only.
        """
        for t, (item, prompts) in enumerate(self.prompted(frames, sampler)):
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
        images = self.images([item["image"]])
        features = self.neck(self.backbone(images.tensor, prompts=prompts))
        proposals, _ = self.proposal_generator(images, features)
        return images, features, proposals
