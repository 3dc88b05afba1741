"""What must hold for benchmark.py's numbers to mean something, and the memory of an endless stream."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from benchmark_arms import HALF, Frames, tensors, variant

from stpn.engine.predictor import VideoPredictor
from stpn.meta_arch.clip import normalise, pad_clips, pad_images, shrink
from stpn.prompting import embed_support


def check_all(model, stock, items):
    """Raise AssertionError where the arms do not compute what they stand for; -> the differences found."""
    image, grid = tensors(model, items[:1])[0], model.sampler.with_policy("grid")
    prompts = fresh_prompts(model, grid, items, t=0)
    plain, prompted = model.backbone(image), model.backbone(image, prompts=prompts)
    found = {"unprompted_minus_stock": relative_difference(plain, stock(image)),
             "prompted_minus_unprompted": relative_difference(plain, prompted)}
    assert found["unprompted_minus_stock"] < 1e-3, f"un-prompted and detectron2's Swin differ: {found}"
    assert found["prompted_minus_unprompted"] > 1e-2, f"the prompts do next to nothing: {found}"
    for scale in (1.0, HALF):
        check_stream(variant(model, support_resize=scale), grid, items)
    found["proposals"] = {name: proposals(model, items[0], p) for name, p in
                          (("without prompts", None), ("with prompts", prompts))}
    return found


def relative_difference(a, b):
    """Largest difference of two outputs {"res2": ...}, relative to the largest value of its level."""
    return max(((a[name] - b[name]).abs().max() / a[name].abs().max()).item() for name in a)


def check_stream(model, sampler, items):
    """The prompts that the stream detects with are those computed afresh for that frame alone."""
    used = []
    with mock.patch.object(model, "detect", lambda item, prompts=None: used.append(prompts)):
        for _ in model.stream(Frames(items, len(items)), sampler):
            pass
    for t in sorted({0, min(sampler.stride, len(items) - 1), len(items) - 1}):
        torch.testing.assert_close(used[t], fresh_prompts(model, sampler, items, t), atol=1e-3, rtol=1e-3,
                                   msg=lambda text, t=t: f"prompts of frame {t} in the stream: {text}")


def fresh_prompts(model, sampler, items, t):
    """Prompts of frame t of the video `items`, without stream, cache or reuse."""
    images = [shrink(items[i]["image"].to(model.device), model.support_resize)
              for i in sampler.test(t, len(items))]
    images = [normalise(image, model.pixel_mean, model.pixel_std)[None] for image in images]
    clips = [pad_clips([image], model.backbone.size_divisibility) for image in images]
    return model.prompt_predictor(torch.cat([embed_support(model.backbone, clip) for clip in clips], 1))


def proposals(model, item, prompts):
    """Number of boxes that the box head gets for a frame: it sets that head's cost."""
    image = normalise(item["image"].to(model.device), model.pixel_mean, model.pixel_std)
    images = pad_images([image], model.backbone.size_divisibility)
    features = model.neck(model.backbone(images.tensor, prompts=prompts))
    return len(model.proposal_generator(images, features)[0][0])


def held_memory(device):
    """MB that this process holds now, or, where the system does not tell, the most it has held; on a GPU the
    most that tensors have taken there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
    except OSError:
        unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def endless_noise(size):
    """Frames np.uint8 (H, W, 3), each new memory as from a decoder."""
    rng = np.random.default_rng(0)
    while True:
        yield rng.integers(0, 256, (*size, 3), dtype=np.uint8)


def stream_memory(cfg, model, *, size, counts, boxes=None):
    """-> {frames: MB held when that many frames of one endless stream are done}; counts ascending. boxes: of the
    targets, for a tracker."""
    found = {}
    results = VideoPredictor(cfg, model=model).stream(endless_noise(size), boxes=boxes)
    for result in results:
        if result.index + 1 in counts:
            found[result.index + 1] = held_memory(model.device)
        if result.index + 1 == counts[-1]:
            break
    results.close()
    return found
