"""Frames of a video with all that went into their prompts."""

from typing import NamedTuple

import torch

from ..prompting import support_stream


class Explained(NamedTuple):
    """t; item: as the model reads it; indices: of the support frames; images: their pictures, uint8 (H, W, 3) RGB;
    support: (1, K, h, w, C), prompts: what the predictor made of it. For a baseline the last four are None."""

    t: int
    item: dict
    indices: list | None
    images: list | None
    support: torch.Tensor | None
    prompts: tuple | None


def explained_frames(model, frames, wanted, *, sampler=None):
    """Yield Explained for the frames `wanted` of a video, in order. frames: as in support_stream, its items with
    "frame". sampler: instead of the model's own. Pictures of support frames within reach are kept."""
    wanted, last = set(wanted), max(wanted)
    if model.prompt_predictor is None:
        for t, item in enumerate(frames):
            if t in wanted:
                yield Explained(t, item, None, None, None, None)
            if t >= last:
                return
    sampler, seen = sampler or model.sampler, {}

    def embed(item):
        seen[item["frame"].index] = item["frame"].image
        return model._embed_frame(item)

    for t, item, support in support_stream(frames, sampler, embed):
        if t in wanted:
            indices = sampler.test(t, frames.length)
            yield Explained(t, item, indices, [seen[i] for i in indices], support, model._predict_prompts(support))
        if t >= last:
            return
        if sampler.look_ahead is not None:
            for i in [i for i in seen if i < t + 1 - sampler.reach_back]:
                del seen[i]
