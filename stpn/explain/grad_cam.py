"""Grad-CAM of a detector: which of the encoder's features speak for a class in a box."""

import torch
import torch.nn.functional as F
from detectron2.structures import Boxes

from ..errors import InputError


def grad_cam(model, item, *, box, label, stage, prompts=None):
    """model: a VideoObjectDetector with detectron2's StandardROIHeads, in eval mode. item: {"image": (3, h, w) uint8};
    box: x1 y1 x2 y2 in pixels of that image; label: class number; stage: an output of the encoder such as "res5".

    -> ((h, w) float in 0..1 over the image, the class's logit). Channels of the stage are weighted by their mean
    gradient, as in the paper; what speaks against the class is cut off. InputError for a stage that does not reach the
    class score."""
    images = model.images([item["image"]])
    with torch.enable_grad():
        features = model.backbone(images.tensor, prompts=prompts)
        if stage not in features:
            raise InputError(f"stage {stage!r} is not known; expected one of {', '.join(features)}")
        kept = features[stage].detach().requires_grad_()
        logit = _logit(model, {**features, stage: kept}, box, label)
        gradient = torch.autograd.grad(logit, kept, allow_unused=True)[0] if logit.requires_grad else None
    if gradient is None:
        raise InputError(f"stage {stage} does not reach the class score: the neck does not read it; take another")
    cam = (gradient.mean((2, 3), keepdim=True) * kept).sum(1, keepdim=True).relu().detach()
    cam = F.interpolate(cam, images.tensor.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    cam = cam[:item["image"].shape[1], :item["image"].shape[2]]
    return cam / cam.max().clamp(min=torch.finfo(cam.dtype).tiny), logit.item()


def _logit(model, features, box, label):
    """The class score before softmax that the box head gives this box."""
    heads, pyramid = model.roi_heads, model.neck(features)
    boxes = Boxes(torch.as_tensor(box, dtype=torch.float32, device=model.device)[None])
    pooled = heads.box_pooler([pyramid[name] for name in heads.box_in_features], [boxes])
    scores, _ = heads.box_predictor(heads.box_head(pooled))
    return scores[0, label]
