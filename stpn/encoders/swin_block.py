"""The parts of a prompted Swin: window attention, block, patch embedding and merging.

B batch, H W token grid, C width, P prompts, M window side, n windows of an image, N = M*M tokens of a window.
Tokens x: (B, H*W + P, C), an image's patches and then its prompts, which are the same in all of its windows;
size: (H, W). One sequence, so that every layer reads its weights once for both.
Parameter names are those of detectron2's SwinTransformer, so its checkpoints load without a map.
"""

import torch
import torch.nn.functional as F
from timm.layers import DropPath, Mlp
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

    def forward(self, x, size, *, shift, keep):
        """-> tokens (B, H*W + keep, C); keep: P, or 0 where the prompts' result is not needed.

        The prompts' result is the mean over the image's windows, padded ones included.
        """
        B, T, C = x.shape
        P = T - size[0] * size[1]
        rows, padding, places = win.window_order(tuple(size), self.side, shift, P, keep, x.device)
        qkv = self.qkv(x).index_select(1, rows)
        if len(padding):
            # Padding comes after the projection: a zero token's q, k, v are the bias.
            qkv.index_copy_(1, padding, self.qkv.bias.to(qkv.dtype).expand(B, len(padding), -1))
        q, k, v = qkv.view(-1, P + self.side ** 2, 3, self.num_heads, C // self.num_heads).permute(2, 0, 3, 1, 4)
        grid = -(-size[0] // self.side), -(-size[1] // self.side)
        bias = self._bias(grid, shift, P, keep, q).expand(B, -1, -1, -1, -1).flatten(0, 1) if shift \
            else self._bias(grid, shift, P, keep, q)
        out = F.scaled_dot_product_attention(q[:, :, P - keep:], k, v, attn_mask=bias)
        out = out.transpose(1, 2).reshape(B, -1, keep + self.side ** 2, C)
        patches = out.flatten(1, 2).index_select(1, places)
        # The projection is linear: the mean of projections is the projection of the mean.
        return self.proj(torch.cat([patches, out[:, :, :keep].mean(1)], 1) if keep else patches)

    def _bias(self, grid, shift, P, keep, like):
        """(1 or n, heads, keep + N, P + N) additive bias; cached while the weights stand still."""
        table = self.relative_position_bias_table
        # Weights made in inference mode do not count their changes.
        if self.training or torch.is_grad_enabled() or table.is_inference():
            return self._make_bias(grid, shift, P, keep, like)
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
        self.shift = shift
        self.drop_path = DropPath(drop_path)  # one draw for an image, its patches and prompts together
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, side, num_heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x, size, *, keep):
        """x: (B, H*W + P, C) -> (B, H*W + keep, C)."""
        attended = self.attn(self.norm1(x), size, shift=self.shift, keep=keep)
        x = x[:, :attended.shape[1]] + self.drop_path(attended)
        return x + self.drop_path(self.mlp(self.norm2(x)))


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

    def forward(self, x, size):
        """x: (B, H*W + P, C) -> (B, h*w + P, 2C) with h, w half of H, W, rounded up."""
        patches, prompts = x[:, :size[0] * size[1]].unflatten(1, size), x[:, size[0] * size[1]:]
        patches = F.pad(patches, (0, 0, 0, size[1] % 2, 0, size[0] % 2))
        patches = torch.cat([patches[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1).flatten(1, 2)
        if prompts.shape[1]:
            patches = torch.cat([patches, prompts[..., self.prompt_order]], 1)
        return self.reduction(self.norm(patches))
