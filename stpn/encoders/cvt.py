"""CvT (arXiv 2103.15808) with video prompts, and with MixFormer's mixed attention (arXiv 2203.11082) over templates."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from torch import nn

from .base import PromptableBackbone
from .cvt_block import PROMPT_PROJECTIONS, Context, CvtBlock, PatchEmbed

_KERNELS = (7, 3, 3)  # of the patch embeddings
_STRIDES = (4, 2, 2)
_PADDINGS = (2, 1, 1)


class Templates(NamedTuple):
    """What a tracker keeps of its templates: contexts, of each block; maps: (B, n, C, h, w) after the last."""

    contexts: list
    maps: torch.Tensor

    def repeat(self, times):
        """-> the same for a batch in which each image stands `times` times in a row."""
        contexts = [Context(*(part.repeat_interleave(times, 0) for part in context)) for context in self.contexts]
        return Templates(contexts, self.maps.repeat_interleave(times, 0))


class CvtStage(nn.Module):
    """The patch embedding that enters a resolution, and its blocks."""

    def __init__(self, in_width, width, i, *, depth, drop_path, **block):
        super().__init__()
        self.patch_embed = PatchEmbed(in_width, width, kernel=_KERNELS[i], stride=_STRIDES[i], padding=_PADDINGS[i])
        rates = torch.linspace(0, drop_path, depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(CvtBlock(width, drop_path=rate, **block) for rate in rates)


@BACKBONE_REGISTRY.register()
class PromptedCvT(PromptableBackbone):
    """CvT without class token and position embedding, its batch normalisations frozen, as MixFormer uses it.

    Shallow prompts (one tensor) enter after the first patch embedding and pass every block; between stages a prompt
    is carried as an image of equal pixels. Deep prompts are replaced at every block. The authors published no prompted
    CvT: where prompts enter is our reading, by what CvT does with its class token and STPN with Swin's merging.

    Outputs: res2, res3, res4 at strides 4, 8, 16, (B, widths[i], h, w) with h, w rounded up.
    drop_path_rates: of each stage, rising linearly over its blocks from 0.
    prompt_projection: "bypass" or "constant", see ConvProjection.
    """

    embed_feature = "res4"

    @configurable
    def __init__(self, *, widths=(64, 192, 384), depths=(1, 4, 16), num_heads=(1, 3, 6), mlp_ratio=4.0,
                 drop_path_rates=(0.0, 0.0, 0.1), out_features=("res2", "res3", "res4"), prompt_projection="bypass",
                 freeze_at=0):
        super().__init__()
        names = ("res2", "res3", "res4")
        for what, values in (("depths", depths), ("num_heads", num_heads), ("drop_path_rates", drop_path_rates)):
            if not len(widths) == len(values) == len(names):
                raise ValueError(f"CvT got {len(widths)} widths and {len(values)} {what}; expected 3 of each")
        if prompt_projection not in PROMPT_PROJECTIONS:
            raise ValueError(f"prompt_projection is {prompt_projection!r}; expected {' or '.join(PROMPT_PROJECTIONS)}")
        if not set(out_features) <= set(names):
            raise ValueError(f"out_features are {list(out_features)}; expected some of {', '.join(names)}")
        self.prompt_widths = tuple(w for w, depth in zip(widths, depths, strict=True) for _ in range(depth))
        self.embed_width = widths[-1]
        self._out_features = [name for name in names if name in out_features]
        self._out_feature_channels = dict(zip(names, widths, strict=True))
        self._out_feature_strides = dict(zip(names, (4, 8, 16), strict=True))
        for i, (before, width) in enumerate(zip((3, *widths), widths, strict=False)):
            self.add_module(f"stage{i}", CvtStage(
                before, width, i, depth=depths[i], drop_path=drop_path_rates[i], num_heads=num_heads[i],
                mlp_ratio=mlp_ratio, prompt_projection=prompt_projection))
        self.apply(_init_weights)
        for stage in self._stages[:freeze_at]:
            stage.requires_grad_(False)

    @classmethod
    def from_config(cls, cfg, input_shape=None):
        cvt = cfg.MODEL.CVT
        return {
            "widths": cvt.WIDTHS, "depths": cvt.DEPTHS, "num_heads": cvt.NUM_HEADS, "mlp_ratio": cvt.MLP_RATIO,
            "drop_path_rates": cvt.DROP_PATH_RATES, "out_features": cvt.OUT_FEATURES,
            "prompt_projection": cvt.PROMPT_PROJECTION, "freeze_at": cfg.MODEL.BACKBONE.FREEZE_AT,
        }

    def forward(self, images, prompts=None, *, templates=None):
        """images (B, 3, H, W), prompts as in PromptableBackbone -> {"res2": (B, C, H/4, W/4), ...}.

        templates: Templates that patches and prompts attend to, too. Templates never see either.
        """
        outputs, _ = self._run(images[:, None], self.check_prompts(prompts, len(images)), templates)
        return {name: outputs[name][:, 0] for name in outputs if name in {*self._out_features, self.embed_feature}}

    def embed_templates(self, images):
        """images: (B, n, 3, H, W), which attend to each other -> Templates. They hold for any number of forwards, with
        and without prompts."""
        outputs, contexts = self._run(images, None, None)
        return Templates(contexts, outputs[self.embed_feature])

    def _run(self, images, prompts, templates):
        """images: (B, n, 3, H, W) -> ({"res2": (B, n, C, h, w), ...}, Context of each block)."""
        n, deep = images.shape[1], prompts is not None and len(prompts) > 1
        maps = F.pad(images.flatten(0, 1), (0, -images.shape[-1] % 4, 0, -images.shape[-2] % 4))
        outputs, contexts, layer, carried = {}, [], 0, None if prompts is None or deep else prompts[0]
        for i, stage in enumerate(self._stages):
            x, size = stage.patch_embed(maps, n)
            T = x.shape[1]
            if carried is not None:
                x = torch.cat([x, stage.patch_embed.carry(carried) if i else carried], 1)
            for block in stage.blocks:
                if deep:
                    x = torch.cat([x[:, :T], prompts[layer]], 1)  # equation 11: fresh prompts at every block
                x, own = block(x, size, n, templates and templates.contexts[layer])
                contexts.append(own)
                layer += 1
            carried = None if prompts is None or deep else x[:, T:]
            maps = x[:, :T].unflatten(1, (n, *size)).flatten(0, 1).permute(0, 3, 1, 2)
            outputs[f"res{i + 2}"] = maps.unflatten(0, (-1, n)).contiguous()
        return outputs, contexts

    @property
    def _stages(self):
        return [self.stage0, self.stage1, self.stage2]

    @property
    def size_divisibility(self):
        """Any size is taken; 16 lets a feature pyramid add its levels."""
        return 16

    def output_shape(self):
        return {n: ShapeSpec(channels=self._out_feature_channels[n], stride=self._out_feature_strides[n])
                for n in self._out_features}


def _init_weights(module):
    """Truncated normal of std 0.02 for linear layers, biases 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
