"""What benchmark_track.py times: trackers that share one set of weights, and what keeps them honest."""

from __future__ import annotations

from unittest import mock

import numpy as np
import torch
from benchmark_arms import HALF, Frames, going_on, rebuilt

from stpn.data.video import Frame
from stpn.meta_arch import tracker_memory
from stpn.meta_arch.tracker_memory import SOURCES
from stpn.prompting import PastSampler
from stpn.study.timing import Arm, Group

COMPARISONS = ("resize", "supports", "source", "anchor")


class KeepingBox(torch.nn.Module):
    """A box head that does its work and answers with a box in the middle, a little smaller than the one that the search
    region was taken around: rounded up, that region then keeps its size."""

    def __init__(self, head, search_factor):
        super().__init__()
        self.head = head
        self.half = 0.4999 / search_factor

    def forward(self, features):
        found = self.head(features)
        return torch.tensor([0.5 - self.half, 0.5 - self.half, 0.5 + self.half, 0.5 + self.half]).to(found)[None]


def variant(model, *, sampler=(), **changes):
    """Another tracker around the same parts, with these arguments of VideoObjectTracker changed. sampler: {argument of
    PastSampler: value} to change there."""
    changes["sampler"] = PastSampler(**{**vars(model.sampler), **dict(sampler)})
    return rebuilt(model, ("box_head", "score_branch", "stage", "loss_weights", "settings", "support_source"), changes)


def candidates(model, compare, supports):
    """-> {name: STPN tracker} for the rows. compare: one of COMPARISONS; supports: FRAMES_PER_SIDE of each."""
    if compare == "resize":
        return {f"STPN, {name} supports": variant(model, support_resize=scale)
                for name, scale in (("full", 1.0), ("half", HALF))}
    if compare == "supports":
        return {f"STPN, K {k}": variant(model, sampler={"frames": k}) for k in supports}
    if compare == "source":
        return {f"STPN, {source}": variant(model, support_source=source) for source in SOURCES}
    return {f"STPN, {anchor}": variant(model, sampler={"anchor": anchor}) for anchor in ("grid", "sliding")}


def noise_frames(count, size):
    """-> items as a tracker reads them."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(min(count, 16))]  # no more than needed
    return [{"frame": Frame(i, float(i), images[i % len(images)]), "height": size[0], "width": size[1]}
            for i in range(count)]


def target(size):
    """-> box x, y, w, h in the middle of a frame (H, W)."""
    side = max(1, min(size) // 6)
    return [(size[1] - side) / 2, (size[0] - side) / 2, side, side]


def group(models, items, box):
    """The tracker without prompts against each of models, {name: tracker}."""
    def arm(name, model):
        return Arm(name, going_on(model.stream(Frames(items), [box]), len(items)))

    plain = variant(next(iter(models.values())), prompt_predictor=None)
    return Group("tracker", arm("un-prompted", plain), tuple(arm(name, model) for name, model in models.items()))


def check(model, items, box):
    """Raise AssertionError where an arm would not do what it stands for in so many frames; -> how much the prompts
    change what the heads see."""
    sampler, count = model.sampler, len(items)
    passes = {"memory": sum(map(sampler.serves, range(count))), "prompted_memory": 1, "templates": 0}
    prompted = walked(model, items, box, passes[model.support_source])
    plain = walked(variant(model, prompt_predictor=None), items, box, 0)
    changed = ((prompted - plain).abs().max() / plain.abs().max()).item()
    assert changed > 1e-3, f"the prompts do next to nothing: {changed}"
    return changed


def walked(model, items, box, passes):
    """Track through the items. -> search map of the last frame. AssertionError where there are not so
    many support passes, or not the templates that there should be, or the box has moved."""
    def watched(owner, name):
        return mock.patch.object(owner, name, wraps=getattr(owner, name))

    updates = 1 + (len(items) - 1) // model.settings.update_interval
    with (watched(tracker_memory, "embed_support") as supports, watched(model.backbone, "embed_templates") as templates,
          watched(model, "score") as score):
        boxes = [found.pred_boxes.tensor for _, _, found in model.stream(Frames(items, len(items)), [box])]
    assert supports.call_count == passes, f"{supports.call_count} support passes, not {passes}"
    assert templates.call_count == updates, f"templates were encoded {templates.call_count} times, not {updates}"
    assert (boxes[-1] - boxes[0]).abs().max() < 2, f"the box has moved: {boxes[0]}, {boxes[-1]}"
    return score.call_args.args[0]
