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


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept here may be needed for a gradient later
def window_order(size, side, shift, P, keep, device):
    """Where the tokens of a sequence (H*W patches, then P prompts) stand in shifted windows, and back.

    One gather by these numbers replaces padding, cyclic shift, partition and copies of the prompts, each of
    which would move all tokens. size: (H, W).
    -> rows (n * (P + M*M),): the token at each place of the windows, every window's prompts first;
       padding (k,): places that hold no token (their rows are 0 and must be overwritten);
       places (H*W,): where each patch lies in windows that still hold `keep` of the P prompts.
    """
    H, W = size
    height, width = -(-H // side) * side, -(-W // side) * side
    grid = torch.full((height, width), -1)
    grid[:H, :W] = torch.arange(H * W).view(H, W)
    grid = torch.roll(grid, (-shift, -shift), (0, 1))[None, :, :, None]
    patches = window_view(grid, side).reshape(-1, side * side)
    prompts = torch.arange(H * W, H * W + P).expand(len(patches), P)
    rows = torch.cat([prompts, patches], 1).flatten()
    kept = torch.cat([prompts[:, :keep], patches], 1).flatten()
    order = rows.clamp(min=0), (rows < 0).nonzero()[:, 0], kept.argsort()[kept.lt(0).sum():][:H * W]
    return tuple(part.to(device) for part in order)
