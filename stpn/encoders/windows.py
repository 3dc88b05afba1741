"""Window arithmetic of Swin: positions, shift masks, partitions. M window side, n number of windows."""

from functools import lru_cache

import torch


def relative_position_index(side):
    """(M*M, M*M) long: the row of the bias table for each pair of positions in a window."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    row = rows.flatten()[:, None] - rows.flatten()[None, :] + side - 1
    column = columns.flatten()[:, None] - columns.flatten()[None, :] + side - 1
    return row * (2 * side - 1) + column


@lru_cache(maxsize=64)
def shift_mask(height, width, side, shift):
    """(n, M*M, M*M) float on the CPU: -100 between tokens that the cyclic shift made neighbours, 0 elsewhere.

    height, width: padded size in tokens, multiples of side. The value -100 is Swin's.
    """
    region = torch.zeros(height, width)
    bands = (slice(0, -side), slice(-side, -shift), slice(-shift, None))
    for i, rows in enumerate(bands):
        for j, columns in enumerate(bands):
            region[rows, columns] = 3 * i + j
    region = window_view(region[None, :, :, None], side).reshape(-1, side * side)
    return (region[:, None, :] != region[:, :, None]).float() * -100.0


def window_view(x, side):
    """(B, H, W, C) -> (B, H/M, W/M, M, M, C), a view."""
    B, H, W, C = x.shape
    return x.view(B, H // side, side, W // side, side, C).transpose(2, 3)


def pad_to_windows(qkv, fill, side):
    """Pad (B, H, W, D) below and right to multiples of side with the vector fill (D,)."""
    B, H, W, D = qkv.shape
    height, width = -(-H // side) * side, -(-W // side) * side
    if (height, width) == (H, W):
        return qkv
    padded = fill.to(qkv).expand(B, height, width, D).clone()
    padded[:, :H, :W] = qkv
    return padded


def to_windows(x, side, shift, prompts=None):
    """(B, H, W, D) and prompts (B, P, D) -> (B * n, P + M*M, D): every window, an image's prompts first."""
    B, H, W, D = x.shape
    if shift:
        x = torch.roll(x, (-shift, -shift), (1, 2))
    if prompts is None:
        return window_view(x, side).reshape(-1, side * side, D)
    # One buffer that is written once: a concatenation would copy every window a second time.
    P, n = prompts.shape[1], (H // side) * (W // side)
    out = x.new_empty(B, n, P + side * side, D)
    out[:, :, :P] = prompts[:, None]
    out[:, :, P:].unflatten(2, (side, side)).unflatten(1, (H // side, W // side)).copy_(window_view(x, side))
    return out.flatten(0, 1)


def from_windows(windows, size, side, shift):
    """(B, n, M*M, C) -> (B, H, W, C) with size = (H, W) before padding; the inverse of to_windows."""
    B, C = windows.shape[0], windows.shape[-1]
    H, W = size
    rows, columns = -(-H // side), -(-W // side)
    x = windows.reshape(B, rows, columns, side, side, C).transpose(2, 3).reshape(B, rows * side, columns * side, C)
    if shift:
        x = torch.roll(x, (shift, shift), (1, 2))
    return x[:, :H, :W]
