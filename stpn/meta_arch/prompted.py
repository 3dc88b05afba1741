"""What the tasks share: an encoder with its prompt predictor, and how clips and videos are prompted.

PromptedModel is the base of all; PromptedStream of those that walk a video frame by frame, each with its supports.
"""

import torch
from torch import nn

from ..prompting import PromptedFrames, SupportSampler, build_prompt_predictor, embed_support
from .clip import log_prompts, normalise, pad_clips, pad_images, shrink


class PromptedModel(nn.Module):
    """Base of the meta-architectures. A task adds its heads and calls, in training,

        prompts = self.training_prompts(batched_inputs)     # stage 1
        features = self.backbone(images, prompts=prompts)   # stage 2

    Without a prompt_predictor prompts are None: the plain baseline.
    """

    def __init__(self, *, backbone, prompt_predictor, sampler, support_resize, support_grad, pixel_mean, pixel_std):
        """sampler: SupportSampler for testing. support_resize: size of support frames relative to key frames
        when testing (in training the mapper has done it). pixel_mean, pixel_std: RGB, of 0..255 images."""
        super().__init__()
        self.backbone = backbone
        self.prompt_predictor = prompt_predictor
        self.sampler = sampler
        self.support_resize = support_resize
        self.support_grad = support_grad
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), persistent=False)

    @staticmethod
    def prompting_config(cfg, backbone, *, sampler=SupportSampler):
        """-> the arguments of __init__, for a task's from_config. sampler: the class of its sampler."""
        support = cfg.INPUT.SUPPORT
        if support.RESIZE <= 0:
            raise ValueError(f"INPUT.SUPPORT.RESIZE is {support.RESIZE}; expected a factor above 0")
        return {
            "backbone": backbone, "prompt_predictor": build_prompt_predictor(cfg, backbone),
            "sampler": sampler.from_config(support),
            "support_resize": support.RESIZE, "support_grad": cfg.MODEL.STPN.SUPPORT_GRAD,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN, "pixel_std": cfg.MODEL.PIXEL_STD,
        }

    @property
    def device(self):
        return self.pixel_mean.device

    def training_prompts(self, batched_inputs):
        """-> prompts of each sample, None for the baseline."""
        if self.prompt_predictor is None:
            return None
        clips = self.clips([x["support_images"] for x in batched_inputs])
        return self.logged_prompts(embed_support(self.backbone, clips, grad=self.support_grad))

    def logged_prompts(self, support):
        """support: (B, K, h, w, C) -> prompts of each sample, in training."""
        prompts = self.prompt_predictor(support)
        log_prompts(prompts)
        return prompts

    def images(self, images):
        """List of (3, H, W) -> normalised and padded ImageList on the model's device."""
        return pad_images(self._normalised(images), self.backbone.size_divisibility)

    def clips(self, clips):
        """List of (K, 3, H, W) -> (B, K, 3, H', W'), normalised and padded, on the model's device."""
        return pad_clips(self._normalised(clips), self.backbone.size_divisibility)

    def _normalised(self, images):
        return [normalise(x.to(self.device), self.pixel_mean, self.pixel_std) for x in images]


class PromptedStream(PromptedModel):
    """Adds the walk over a video, self.prompted(frames)."""

    def support_samplers(self, sampler=None):
        """SupportSamplers that a stream with this sampler (None: the model's own) uses, in their order of reading
        ahead; () where no frame but the current one counts."""
        return () if self.prompt_predictor is None else (sampler or self.sampler,)

    def prompted(self, frames, sampler=None):
        """-> PromptedFrames: pairs (item, prompts) of one video. frames: as in support_stream; its items are dicts
        {"image": (3, h, w) uint8, ...}. sampler: SupportSampler instead of the model's own, for this video only."""
        sampler = None if self.prompt_predictor is None else sampler or self.sampler
        return PromptedFrames(frames, sampler, self._embed_frame, self._predict_prompts)

    @torch.no_grad()
    def _embed_frame(self, item):
        """-> (h, w, C)."""
        image = shrink(item["image"].to(self.device), self.support_resize)
        return embed_support(self.backbone, self.clips([image[None]]))[0, 0]

    @torch.no_grad()
    def _predict_prompts(self, support):
        return self.prompt_predictor(support)
