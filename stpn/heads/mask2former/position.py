"""Sine position of a map's cells (DETR, arXiv 2005.12872), as Mask2Former sets it."""

import math

import torch


def sine_position(h, w, width, *, device=None, temperature=10000.0):
    """-> (width, h, w): first half from y, second from x; in each, sine and cosine by turns.

    Cells are numbered from 1 and scaled to 2 pi over the map, so that a position means the same at any size.
    """
    half = width // 2
    channel = torch.arange(half, dtype=torch.float32, device=device)
    period = temperature ** (2 * torch.div(channel, 2, rounding_mode="floor") / half)
    y, x = (_axis(n, period) for n in (h, w))
    return torch.cat([y.T[:, :, None].expand(-1, -1, w), x.T[:, None, :].expand(-1, h, -1)])


def _axis(length, period, eps=1e-6):
    """-> (length, len(period))"""
    place = torch.arange(1, length + 1, dtype=torch.float32, device=period.device) / (length + eps) * (2 * math.pi)
    angle = place[:, None] / period
    return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], 2).flatten(1)
