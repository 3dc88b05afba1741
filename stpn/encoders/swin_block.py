"""The parts of a prompted Swin: window attention, block, patch embedding and merging.

B batch, H W token grid, C width, P prompts, M window side, n windows of an image, N = M*M tokens of a window.
Patches x: (B, H, W, C). Prompts p: (B, P, C), one set for each image, the same in all of its windows.
Parameter names are those of detectron2's SwinTransformer, so its checkpoints load without a map.
"""

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from torch import nn

from . import windows as win


class WindowAttention(nn.Module):
    """Attention within windows, over each window's patches and the image's prompts.

    Every pair that involves a prompt has position bias 0 and is never masked, as in the authors' code.
    An image's prompts are projected to q, k, v once and not once a window: the same function, less work.
    """

    CACHE_SIZE = 4  # sizes whose bias is kept: key and support frames, with and without prompts

    def __init__(self, width, side, num_heads):
        super().__init__()
        self.side, self.num_heads = side, num_heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * side - 1) ** 2, num_heads))
        self.register_buffer("relative_position_index", win.relative_position_index(side))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self._bias_cache = {}

    def forward(self, x, p, *, shift, keep_prompts):
        """-> patches (B, H, W, C) and prompts (B, P, C), or None unless keep_prompts.

        The prompts' result is the mean over the image's windows, padded ones included.
        """
        B, H, W, C = x.shape
        P = 0 if p is None else p.shape[1]
        # Padding comes after the projection: a zero token's q, k, v are the bias.
        qkv = win.pad_to_windows(self.qkv(x), self.qkv.bias, self.side)
        grid = qkv.shape[1] // self.side, qkv.shape[2] // self.side
        tokens = win.to_windows(qkv, self.side, shift, None if p is None else self.qkv(p))
        q, k, v = tokens.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        keep = P if keep_prompts else 0
        bias = self._bias(grid, shift, P, keep, q).expand(B, -1, -1, -1, -1).flatten(0, 1) if shift \
            else self._bias(grid, shift, P, keep, q)
        out = F.scaled_dot_product_attention(q[:, :, P - keep:], k, v, attn_mask=bias)
        out = out.transpose(1, 2).reshape(B, -1, keep + self.side ** 2, C)
        patches = self.proj(win.from_windows(out[:, :, keep:], (H, W), self.side, shift))
        # The projection is linear: the mean of projections is the projection of the mean.
        return patches, self.proj(out[:, :, :keep].mean(1)) if keep else None

    def _bias(self, grid, shift, P, keep, like):
        """(1 or n, heads, keep + N, P + N) additive bias; cached while the weights stand still."""
        if self.training or torch.is_grad_enabled():
            return self._make_bias(grid, shift, P, keep, like)
        table = self.relative_position_bias_table
        key = (grid, shift, P, keep, like.dtype, like.device, table._version, table.data_ptr())
        if key not in self._bias_cache:
            # Entries of older weights are of no use any more: the support pass of training leaves one a step.
            self._bias_cache = {k: v for k, v in self._bias_cache.items() if k[-2:] == key[-2:]}
            while len(self._bias_cache) >= self.CACHE_SIZE:
                self._bias_cache.pop(next(iter(self._bias_cache)))
            self._bias_cache[key] = self._make_bias(grid, shift, P, keep, like)
        return self._bias_cache[key]

    def _make_bias(self, grid, shift, P, keep, like):
        N = self.side ** 2
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)].view(N, N, -1)
        bias = bias.permute(2, 0, 1)[None]
        if shift:
            mask = win.shift_mask(grid[0] * self.side, grid[1] * self.side, self.side, shift)
            bias = bias + mask.to(bias)[:, None]
        return F.pad(bias, (P, 0, keep, 0)).to(like.dtype)


class SwinBlock(nn.Module):
    """x = x + attention(norm1(x)); x = x + mlp(norm2(x)); prompts pass the same weights as patches."""

    def __init__(self, width, *, num_heads, side, shift, mlp_ratio, drop_path):
        super().__init__()
        self.shift, self.drop_path_rate = shift, drop_path
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, side, num_heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x, p=None, *, keep_prompts=True):
        """x: (B, H, W, C), p: (B, P, C) or None -> (x, p); p is None unless keep_prompts."""
        keep_prompts = keep_prompts and p is not None
        attended, attended_p = self.attn(self.norm1(x), None if p is None else self.norm1(p),
                                         shift=self.shift, keep_prompts=keep_prompts)
        # One draw of the stochastic depth for an image's patches and prompts together.
        drop = self._drop(x)
        x = x + _scaled(attended, drop)
        if keep_prompts:
            p = p + _scaled(attended_p, drop)
        drop = self._drop(x)
        x = x + _scaled(self.mlp(self.norm2(x)), drop)
        return x, p + _scaled(self.mlp(self.norm2(p)), drop) if keep_prompts else None

    def _drop(self, x):
        """(B,) factors of the residual branch, or None when it is always kept."""
        if not self.training or self.drop_path_rate == 0:
            return None
        keep = 1 - self.drop_path_rate
        return x.new_empty(len(x)).bernoulli_(keep) / keep


def _scaled(branch, drop):
    return branch if drop is None else branch * drop.view(-1, *[1] * (branch.dim() - 1))


class PatchEmbed(nn.Module):
    """4x4 patches -> (B, H, W, C), normalised; images are padded with zeros below and right."""

    def __init__(self, width, patch=4):
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(3, width, patch, patch)
        self.norm = nn.LayerNorm(width)

    def forward(self, images):
        H, W = images.shape[-2:]
        images = F.pad(images, (0, -W % self.patch, 0, -H % self.patch))
        return self.norm(self.proj(images).permute(0, 2, 3, 1))


class PatchMerging(nn.Module):
    """2x2 patches -> one of twice the width. A prompt is merged like a 2x2 patch of four equal pixels ("vpt").

    "released" merges prompts in the channel order of the authors' code, which tiles in nn.Unfold's order over
    weights in that order; it is for their checkpoints only.
    """

    def __init__(self, width, prompt_merge):
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        order = torch.arange(4 * width) % width
        if prompt_merge == "released":
            place, channel = torch.arange(4 * width) // width, torch.arange(4 * width) % width
            order = (4 * channel + torch.tensor([0, 2, 1, 3])[place]) % width
        self.register_buffer("prompt_order", order, persistent=False)

    def forward(self, x, p):
        H, W = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, W % 2, 0, H % 2))
        x = torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1)
        return self._merge(x), None if p is None else self._merge(p[..., self.prompt_order])

    def _merge(self, tokens):
        return self.reduction(self.norm(tokens))
