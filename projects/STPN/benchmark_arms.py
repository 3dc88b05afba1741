"""What benchmark.py times: encoders and detectors that share one set of weights."""

from __future__ import annotations

from itertools import cycle, islice

import torch
from detectron2.modeling.backbone.swin import SwinTransformer
from torch import nn

from stpn.meta_arch.clip import normalise, pad_images
from stpn.prompting import PromptedFrames, embed_support
from stpn.study.timing import Arm, Group

HALF = 0.5  # INPUT.SUPPORT.RESIZE of the rows with half-resolution supports


class StockSwin(nn.Module):
    """detectron2's SwinTransformer in the place of a PromptedSwin: its very weights (the names are the same),
    its output names res2..res5, no prompts."""

    def __init__(self, cfg, ours):
        super().__init__()
        swin = cfg.MODEL.SWIN
        names = {*swin.OUT_FEATURES, ours.embed_feature}
        self.swin = SwinTransformer(
            embed_dim=swin.EMBED_DIM, depths=swin.DEPTHS, num_heads=swin.NUM_HEADS,
            window_size=swin.WINDOW_SIZE, mlp_ratio=swin.MLP_RATIO, drop_path_rate=0.0,
            out_indices=sorted(int(name[3:]) - 2 for name in names))
        self.swin.load_state_dict(ours.state_dict(), assign=True)
        self.size_divisibility = ours.size_divisibility

    def forward(self, images, prompts=None):
        if prompts is not None:
            raise ValueError("detectron2's Swin takes no prompts")
        return {f"res{int(name[1:]) + 2}": y for name, y in self.swin(images).items()}


class Frames:
    """The same few frames over and over, as support_stream takes them. length None: without end."""

    def __init__(self, items, length=None):
        self.items, self.length = items, length

    def __iter__(self):
        return islice(cycle(self.items), self.length)

    def select(self, indices):
        return (self.items[i % len(self.items)] for i in indices)


def random_frames(count, size):
    """count frames of noise, uint8, as the mapper gives them; size (H, W)."""
    generator = torch.Generator().manual_seed(0)
    return [{"image": torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8),
             "height": size[0], "width": size[1]} for _ in range(count)]


def tensors(model, items):
    """-> list of (1, 3, H, W): what model's backbone is given for these frames."""
    images = [normalise(item["image"].to(model.device), model.pixel_mean, model.pixel_std) for item in items]
    return [pad_images([image], model.backbone.size_divisibility).tensor for image in images]


def rebuilt(model, own, changes):
    """Another model of the same class around the same parts. own: names of the arguments that PromptedModel has not;
    changes: {name: value} of arguments that differ."""
    shared = ("backbone", "prompt_predictor", "sampler", "support_resize", "support_grad")
    parts = {name: getattr(model, name) for name in (*shared, *own)}
    pixels = {name: getattr(model, name).flatten().tolist() for name in ("pixel_mean", "pixel_std")}
    return type(model)(**{**parts, **pixels, **changes}).to(model.device).eval()


def variant(model, **changes):
    """Another detector around the same parts, with these arguments of VideoObjectDetector changed."""
    return rebuilt(model, ("neck", "proposal_generator", "roi_heads"), changes)


def going_on(stream, count):
    """-> Arm parts that take an endless stream `count` frames on, one frame's time. With count a multiple of
    the stride every call holds the same number of support passes, wherever it begins."""
    def work():
        for _ in islice(stream, count):
            pass

    return ((work, 1 / count),)


def passes(backbone, images, prompts=None):
    """-> Arm parts: the backbone alone on every image, prompts given."""
    def work():
        for image in images:
            backbone(image, prompts=prompts)

    return ((work, 1 / len(images)),)


def prompted_passes(model, images):
    """Endless stream: the backbone alone as the detector uses it, with its support passes and predictor."""
    def embed(image):
        return embed_support(model.backbone, image[None])[0, 0]

    grid = model.sampler.with_policy("grid")
    for image, prompts in PromptedFrames(Frames(images), grid, embed, model.prompt_predictor):
        yield model.backbone(image, prompts=prompts)


def whole_video(model, items, length):
    """-> Arm parts for policy "spread" in videos of `length` frames: the start with all support passes once,
    and a stretch of the frames after it, each weighted by how much of a video it stands for."""
    sampler, running = model.sampler.with_policy("spread"), []

    def start():
        running[:] = [model.stream(Frames(items, length), sampler)]
        next(running[0])

    def rest():
        for _ in islice(running[0], len(items)):
            pass

    return ((start, 1 / length), (rest, (length - 1) / length / len(items)))


def backbone_groups(model, stock, images, num_prompts):
    """The backbone alone, against our own un-prompted path and against detectron2's Swin."""
    ours = model.backbone
    deep = [torch.randn(1, num_prompts, c, device=model.device) for c in ours.prompt_widths]
    plain = Arm("un-prompted", passes(ours, images))
    prompted = (Arm("shallow prompts", passes(ours, images, deep[:1])),
                Arm("deep prompts", passes(ours, images, deep)),
                Arm("STPN, full supports", going_on(prompted_passes(model, images), len(images))))
    return [Group("backbone", plain, prompted),
            Group("backbone", Arm("detectron2 Swin", passes(stock, images)), (plain, *prompted))]


def detector_groups(model, stock, items, video_length):
    """The whole detector, against the same without prompts and the same around detectron2's Swin."""
    count, grid = len(items), model.sampler.with_policy("grid")
    streams = {scale: variant(model, support_resize=scale).stream(Frames(items), grid)
               for scale in (1.0, HALF)}
    plain = Arm("un-prompted", going_on(variant(model, prompt_predictor=None).stream(Frames(items)), count))
    swin = variant(model, prompt_predictor=None, backbone=stock)
    prompted = (Arm("STPN, full supports", going_on(streams[1.0], count)),
                Arm("STPN, half supports", going_on(streams[HALF], count)),
                Arm("STPN, once per video", whole_video(model, items, video_length)))
    return [Group("detector", plain, prompted),
            Group("detector", Arm("detectron2 Swin", going_on(swin.stream(Frames(items)), count)),
                  (plain, *prompted))]
