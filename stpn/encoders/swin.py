"""Swin transformer that takes video prompts. Without prompts it equals detectron2's SwinTransformer."""

import torch
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from torch import nn

from .base import PromptableBackbone
from .swin_block import PatchEmbed, PatchMerging, SwinBlock

PROMPT_MERGES = ("vpt", "released")


class SwinStage(nn.Module):
    """The blocks of one resolution and the merging that leaves it (None in the last stage)."""

    def __init__(self, width, *, depth, num_heads, window_size, mlp_ratio, drop_path, merge):
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(width, num_heads=num_heads, side=window_size, shift=(window_size // 2) * (j % 2),
                      mlp_ratio=mlp_ratio, drop_path=drop_path[j]) for j in range(depth))
        self.downsample = merge


@BACKBONE_REGISTRY.register()
class PromptedSwin(PromptableBackbone):
    """Swin (arXiv 2103.14030) with prompts prepended to the patch embeddings (STPN, equations 8 to 11).

    Shallow prompts (one tensor) enter before the first block, pass through every block and merging, and are
    dropped at the outputs. Deep prompts (one tensor per block) are replaced at every block (equation 11).
    Parameter names are those of detectron2's and Mask2Former's Swin.

    Outputs: res2..res5 at strides 4, 8, 16, 32, each after its LayerNorm, (B, embed_dim * 2^i, h, w) with
    h, w rounded up. drop_path_rate rises linearly over the blocks from 0.
    """

    @configurable
    def __init__(self, *, embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), window_size=7,
                 mlp_ratio=4.0, drop_path_rate=0.2, out_features=("res2", "res3", "res4", "res5"),
                 prompt_merge="vpt", freeze_at=0):
        super().__init__()
        if prompt_merge not in PROMPT_MERGES:
            raise ValueError(f"prompt_merge is {prompt_merge!r}; expected one of {', '.join(PROMPT_MERGES)}")
        if len(depths) != len(num_heads):
            raise ValueError(f"{len(depths)} depths and {len(num_heads)} num_heads; expected one of each a stage")
        widths = [embed_dim * 2 ** i for i in range(len(depths))]
        names = [f"res{i + 2}" for i in range(len(depths))]
        if not set(out_features) <= set(names):
            raise ValueError(f"out_features are {list(out_features)}; expected some of {', '.join(names)}")
        self.prompt_widths = tuple(w for w, depth in zip(widths, depths) for _ in range(depth))
        self.embed_feature, self.embed_width = names[-1], widths[-1]
        self._out_features = [n for n in names if n in out_features]
        self._out_feature_channels = dict(zip(names, widths))
        self._out_feature_strides = {n: 4 * 2 ** i for i, n in enumerate(names)}
        self.patch_embed = PatchEmbed(embed_dim)
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
        self.layers = nn.ModuleList(
            SwinStage(width, depth=depth, num_heads=heads, window_size=window_size, mlp_ratio=mlp_ratio,
                      drop_path=[next(rates) for _ in range(depth)],
                      merge=PatchMerging(width, prompt_merge) if width != widths[-1] else None)
            for width, depth, heads in zip(widths, depths, num_heads))
        # norm<i> follows stage i; the embedding of support frames is the last one's output.
        for i, (name, width) in enumerate(zip(names, widths)):
            if name in self._out_features or name == self.embed_feature:
                self.add_module(f"norm{i}", nn.LayerNorm(width))
        self.apply(_init_weights)
        self._freeze(freeze_at)

    @classmethod
    def from_config(cls, cfg, input_shape=None):
        swin = cfg.MODEL.SWIN
        return {
            "embed_dim": swin.EMBED_DIM, "depths": swin.DEPTHS, "num_heads": swin.NUM_HEADS,
            "window_size": swin.WINDOW_SIZE, "mlp_ratio": swin.MLP_RATIO,
            "drop_path_rate": swin.DROP_PATH_RATE, "out_features": swin.OUT_FEATURES,
            "prompt_merge": swin.PROMPT_MERGE, "freeze_at": cfg.MODEL.BACKBONE.FREEZE_AT,
        }

    def forward(self, images, prompts=None):
        """images (B, 3, H, W), prompts as in PromptableBackbone -> {"res2": (B, C, H/4, W/4), ...}."""
        prompts = self.check_prompts(prompts, len(images))
        deep = prompts is not None and len(prompts) > 1
        x = self.patch_embed(images)
        size, x = x.shape[1:3], x.flatten(1, 2)
        if prompts is not None and not deep:
            x = torch.cat([x, prompts[0]], 1)
        outputs, layers = {}, iter(range(len(self.prompt_widths)))
        for i, stage in enumerate(self.layers):
            T = size[0] * size[1]
            for block, layer in zip(stage.blocks, layers):
                if deep:
                    x = torch.cat([x, prompts[layer]], 1)  # equation 11: fresh prompts at every block
                keep = 0 if deep or layer + 1 == len(self.prompt_widths) else x.shape[1] - T
                x = block(x, size, keep=keep)
            if hasattr(self, f"norm{i}"):
                y = getattr(self, f"norm{i}")(x[:, :T]).unflatten(1, size)
                outputs[f"res{i + 2}"] = y.permute(0, 3, 1, 2).contiguous()
            if stage.downsample is not None:
                x, size = stage.downsample(x, size), [-(-side // 2) for side in size]
        return outputs

    @property
    def size_divisibility(self):
        """Any size is taken: padding happens inside. 32 lets a feature pyramid add its levels."""
        return 4 * 2 ** (len(self.layers) - 1)

    def output_shape(self):
        return {n: ShapeSpec(channels=self._out_feature_channels[n], stride=self._out_feature_strides[n])
                for n in self._out_features}

    def _freeze(self, freeze_at):
        """detectron2's FREEZE_AT: 1 the patch embedding, 2 and more also the first stages; 0 nothing."""
        parts = [self.patch_embed, *self.layers][:freeze_at]
        for parameter in (q for part in parts for q in part.parameters()):
            parameter.requires_grad_(False)


def _init_weights(module):
    """Swin's: truncated normal of std 0.02, biases 0, LayerNorm 1 and 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    table = getattr(module, "relative_position_bias_table", None)
    if table is not None:
        nn.init.trunc_normal_(table, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
