"""The parts of a prompted CvT: convolutional projection, mixed attention, block, patch embedding.

B batch, n images that are seen together (1, or the templates of a tracker), H W token grid, C width, P prompts.
Tokens x: (B, n*H*W + P, C), the images' patches one image after the other, then the prompts; size: (H, W).
Parameter names are those of the published CvT and MixFormer checkpoints.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from detectron2.layers import FrozenBatchNorm2d
from timm.layers import DropPath
from torch import nn

PROMPT_PROJECTIONS = ("bypass", "constant")


class Context(NamedTuple):
    """Keys and values of one block that queries of another forward pass attend to, too: (B, T, C) each."""

    keys: torch.Tensor
    values: torch.Tensor


class ConvProjection(nn.Module):
    """Depth-wise 3x3 convolution and batch normalisation of each image by itself, before a linear projection.

    Prompts have no place in an image. "bypass": they go past it, as CvT's own class token does. "constant": each is
    taken for an image of equal pixels.
    """

    def __init__(self, width, stride, prompt_projection):
        super().__init__()
        self.prompt_projection = prompt_projection
        self.conv = nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False)
        self.bn = FrozenBatchNorm2d(width)

    def forward(self, x, size, n):
        """-> (B, n*h*w + P, C) with h, w of the strided grid."""
        T = n * size[0] * size[1]
        maps = x[:, :T].unflatten(1, (n, *size)).flatten(0, 1).permute(0, 3, 1, 2)
        maps = self.bn(self.conv(maps))
        patches = maps.flatten(2).transpose(1, 2).unflatten(0, (-1, n)).flatten(1, 2)
        prompts = x[:, T:]
        if not prompts.shape[1]:
            return patches
        if self.prompt_projection == "constant":
            constant = prompts * self.conv.weight.sum((1, 2, 3))
            prompts = self.bn(constant.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)
        return torch.cat([patches, prompts], 1)


class MixedAttention(nn.Module):
    """Attention of patches and prompts over themselves and a context (MixFormer's mixed attention, asymmetric)."""

    def __init__(self, width, num_heads, prompt_projection):
        super().__init__()
        if width % num_heads:
            raise ValueError(f"attention of width {width} cannot have {num_heads} heads; expected a divisor")
        self.num_heads = num_heads
        self.scale = width ** -0.5  # of the whole width and not of a head's, as published
        self.conv_proj_q = ConvProjection(width, 1, prompt_projection)
        self.conv_proj_k = ConvProjection(width, 2, prompt_projection)
        self.conv_proj_v = ConvProjection(width, 2, prompt_projection)
        self.proj_q = nn.Linear(width, width)
        self.proj_k = nn.Linear(width, width)
        self.proj_v = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x, size, n, context):
        """-> (same shape as x, Context of x itself)."""
        q = self.proj_q(self.conv_proj_q(x, size, n))
        own = Context(self.proj_k(self.conv_proj_k(x, size, n)), self.proj_v(self.conv_proj_v(x, size, n)))
        k, v = own if context is None else (torch.cat(pair, 1) for pair in zip(context, own, strict=True))
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.proj(out.transpose(1, 2).flatten(2)), own


class Mlp(nn.Module):
    """fc2(quick GELU(fc1(x))), quick GELU(x) = x * sigmoid(1.702 x)."""

    def __init__(self, width, ratio):
        super().__init__()
        self.fc1 = nn.Linear(width, int(width * ratio))
        self.fc2 = nn.Linear(int(width * ratio), width)

    def forward(self, x):
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))


class CvtBlock(nn.Module):
    """x = x + attention(norm1(x)); x = x + mlp(norm2(x)); prompts pass the same weights as patches."""

    def __init__(self, width, *, num_heads, mlp_ratio, drop_path, prompt_projection):
        super().__init__()
        self.drop_path = DropPath(drop_path)  # one draw for an image, its patches and prompts together
        self.norm1 = nn.LayerNorm(width)
        self.attn = MixedAttention(width, num_heads, prompt_projection)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, mlp_ratio)

    def forward(self, x, size, n, context):
        """-> (x, Context of x)."""
        attended, own = self.attn(self.norm1(x), size, n, context)
        x = x + self.drop_path(attended)
        return x + self.drop_path(self.mlp(self.norm2(x))), own


class PatchEmbed(nn.Module):
    """Overlapping patches by a strided convolution, then LayerNorm over channels."""

    def __init__(self, in_width, width, *, kernel, stride, padding):
        super().__init__()
        self.proj = nn.Conv2d(in_width, width, kernel, stride, padding)
        self.norm = nn.LayerNorm(width)

    def forward(self, maps, n):
        """(B*n, c, H, W) -> (tokens (B, n*h*w, C), (h, w))."""
        maps = self.proj(maps)
        tokens = maps.flatten(2).transpose(1, 2).unflatten(0, (-1, n)).flatten(1, 2)
        return self.norm(tokens), tuple(maps.shape[-2:])

    def carry(self, prompts):
        """Prompts (B, P, c) of the stage before -> (B, P, C): each passes as an image of equal pixels would, far from
        its borders."""
        return self.norm(F.linear(prompts, self.proj.weight.sum((2, 3)), self.proj.bias))
