"""Frames of a video with all that went into their prompts."""

from typing import NamedTuple

import torch

from ..heads import join_support
from ..prompting import support_stream
from ..prompting.embedding import stack_maps


class Supports(NamedTuple):
    """numbers: of the support frames in the video, images: their pictures, uint8 (H, W, 3) RGB; maps: (1, K, h, w, C);
    part: which part of a map's height and width shows the picture, 0..1: below and right of it lies padding."""

    numbers: list
    images: list
    maps: torch.Tensor
    part: tuple


class Explained(NamedTuple):
    """t: number in the video; picture: what the encoder looks at, uint8 (H, W, 3) RGB, as tensor: images (1, 3, h, w),
    normalised and padded; part: as in Supports; item: as the model reads it. prompts: what the predictor made of
    supports, both None for a baseline. context: what else the encoder takes. aggregated: SELSA's support, else None."""

    t: int
    picture: object
    images: torch.Tensor
    part: tuple
    item: dict
    prompts: tuple | None = None
    supports: Supports | None = None
    context: dict | None = None
    aggregated: list | None = None


def explained_frames(model, frames, wanted=None, *, sampler=None):
    """Yield Explained for the frames numbered `wanted` of a video, in order; None: for all of them.

    model: one that walks a video (a PromptedStream). frames: as in support_stream, its items with "frame". sampler:
    instead of the model's own. Memory: as support_stream, and the pictures of the support frames in reach."""

    def embed(item):
        return item["frame"], model._embed_frame(item)

    def join(parts):
        kept, maps = zip(*parts, strict=True)
        return kept, stack_maps(maps)

    if model.prompt_predictor is None:
        pairs = ((item, None) for item in frames)
    else:
        pairs = ((item, support) for _, item, support in support_stream(frames, sampler or model.sampler, embed, join))
    for item, support in pairs:
        t = item["frame"].index
        if wanted is None or t in wanted:
            yield _explained(model, item, support)
        if wanted is not None and t >= max(wanted):
            return


def _explained(model, item, support):
    size = item["image"].shape[1:]
    found = Explained(item["frame"].index, item["frame"].image, model.images([item["image"]]).tensor,
                      picture_part(size, model.backbone.size_divisibility), item)
    if support is None:
        return found
    kept, maps = support
    small = [max(1, round(side * model.support_resize)) for side in size]
    part = picture_part(small, model.backbone.size_divisibility)
    supports = Supports([frame.index for frame in kept], [frame.image for frame in kept], maps, part)
    return found._replace(prompts=model._predict_prompts(maps), supports=supports)


def picture_part(size, divisor):
    """size: (H, W) of a picture that is padded to multiples of divisor -> the part of the padded height and width."""
    return tuple(side / (-(-side // divisor) * divisor) for side in size)


def aggregated_supports(model, frames, wanted, *, sampler=None):
    """Yield the support that SELSA aggregates for each of the frames numbered `wanted`. model: a SelsaDetector; the
    rest as in explained_frames, from the beginning of the video."""
    *_, selsa = model.support_samplers(sampler)
    pairs = support_stream(model.prompted(frames, sampler), selsa, model._embed_proposals, join_support)
    for _, (item, _), support in pairs:
        if item["frame"].index in wanted:
            yield support
        if item["frame"].index >= max(wanted):
            return
