"""Grad-CAM (arXiv 1610.02391): which of the encoder's features speak for a class of something found."""

import contextlib

import torch
import torch.nn.functional as F

from ..errors import InputError
from .stages import check_stages, encoder_stages


def grad_cam(model, item, *, score, stages, prompts=None):
    """model: with a PromptedSwin or PromptedCvT as backbone, in eval mode. item: {"image": (3, h, w) uint8}.
    score: encoder's features {"res2": (1, C, h, w), ...} -> a number to explain, such as a class's logit (target.py).
    stages: names such as "res5", also of stages that are no output of the encoder.

    -> ({stage: (h, w) float in 0..1 over the image}, the number). A stage's activation is the output of the encoder
    that the heads read; of a stage of which they read none, what leaves its last block, with all that later blocks make
    of it. (That is worse where both are there: raw tokens of a Swin have a few channels larger than all others.) Its
    channels are weighted by their mean gradient, as in the paper; what speaks against is cut off, and a map of nothing
    but that is 0. InputError for a stage that the encoder has not got or that does not reach the number."""
    images, known = model.images([item["image"]]).tensor, encoder_stages(model.backbone)
    check_stages(model.backbone, stages)
    with torch.enable_grad(), contextlib.ExitStack() as stack:
        kept = {stage: _keep_output(known[stage][-1], stack) for stage in stages}
        # A frozen encoder has activations without gradient, unless its input has one.
        features = model.backbone(images.clone().requires_grad_(), prompts=prompts)
        value = score(features)
        pairs = _with_gradients(value, features, kept)
    sizes = images.shape[-2:], item["image"].shape[1:]
    return {stage: _over_image(_cam(*pair), *sizes) for stage, pair in pairs.items()}, value.item()


def _with_gradients(value, features, kept):
    """kept: {stage: its last block's output, as of _keep_output}. -> {stage: (activation (1, C, h, w), the gradient of
    value there)}, of the encoder's output where value is read from it, else of the last block's."""
    read = [features.get(stage, tokens) for stage, (tokens, _) in kept.items()]
    gradients = torch.autograd.grad(value, [*read, *(tokens for tokens, _ in kept.values())], allow_unused=True)
    pairs = {}
    for i, (stage, (tokens, size)) in enumerate(kept.items()):
        maps, gradient = read[i], gradients[i]
        if stage not in features or gradient is None:
            maps, gradient = (_as_maps(part, size) for part in (tokens, gradients[len(kept) + i]))
        if gradient is None:
            raise InputError(f"stage {stage} does not reach the score: no part of the model reads it; take another")
        pairs[stage] = maps.detach(), gradient
    return pairs


def _keep_output(block, stack):
    """-> a list that will hold the block's output tokens (1, T + prompts, C) and its size (h, w)."""
    kept = []
    stack.callback(block.register_forward_hook(lambda module, arguments, output: kept.extend(
        (output[0] if isinstance(output, tuple) else output, tuple(arguments[1])))).remove)
    return kept


def _as_maps(tokens, size):
    """(1, T + prompts, C) -> (1, C, h, w) of the patches; None stays None."""
    return None if tokens is None else tokens[:, :size[0] * size[1]].transpose(1, 2).unflatten(2, size)


def _cam(maps, gradient):
    """(1, C, h, w) each -> (1, 1, h, w)"""
    return (gradient.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu()


def _over_image(cam, padded, size):
    cam = F.interpolate(cam, padded, mode="bilinear", align_corners=False)[0, 0, :size[0], :size[1]]
    return cam / cam.max().clamp(min=torch.finfo(cam.dtype).tiny)
