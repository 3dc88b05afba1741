"""A tracker's frames with all that went into their prompts: search regions, templates and remembered supports."""

import contextlib

import torch

from .walk import Explained, Supports


@torch.no_grad()
def tracked_frames(model, frames, box, wanted=None):
    """Yield Explained for the frames numbered `wanted` of a video, in order; None: for all but the first, which has no
    prompts. Pictures are search regions.

    model: a VideoObjectTracker with a prompt_predictor. frames: items with "frame"; box: x, y, w, h of the target in
    the first, pixels. Where prompts come from templates (INPUT.SUPPORT.SOURCE), supports are None: they are no frames.
    Memory: the tracker's, and the search regions in its reach."""
    tracker, regions, support = model.tracker(), {}, None
    for place, item in enumerate(frames):
        image, t = item["frame"].image, item["frame"].index
        with _calls(model.backbone) as encoded, _calls(model.prompt_predictor) as predicted:
            tracker.track(image) if place else tracker.initialize(image, box)
        support = predicted[-1][0][0] if predicted else support
        # Frame 0 is only ever a support; of others the first call is the search with prompts.
        search, context = encoded[0] if encoded else ((None,), {})
        if encoded and model.sampler.serves(place):
            regions[place] = t, _picture(model, search[0])
        if place and (wanted is None or t in wanted):
            yield Explained(t, _picture(model, search[0]), search[0], (1.0, 1.0), item, context["prompts"],
                            _supports(model, regions, place, support), {"templates": context["templates"]})
        if wanted is not None and t >= max(wanted):
            return
        _forget(regions, model.sampler, place + 1)


def _supports(model, regions, place, maps):
    if model.support_source == "templates":
        return None
    numbers, images = zip(*(regions[i] for i in model.sampler.test(place)), strict=True)
    return Supports(list(numbers), list(images), maps, (1.0, 1.0))


def _forget(regions, sampler, place):
    for i in [i for i in regions if i < place - sampler.reach_back and not (sampler.keep_first and i == 0)]:
        del regions[i]


@contextlib.contextmanager
def _calls(module):
    """Inside, the arguments of each forward of module are kept: [(positional, by name)]."""
    kept = []
    hook = module.register_forward_pre_hook(lambda _, arguments, options: kept.append((arguments, options)),
                                            with_kwargs=True)
    try:
        yield kept
    finally:
        hook.remove()


def _picture(model, images):
    """(1, 3, H, W) normalised -> uint8 (H, W, 3) RGB."""
    picture = images[0] * model.pixel_std + model.pixel_mean
    return picture.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
