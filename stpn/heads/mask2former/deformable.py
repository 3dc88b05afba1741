"""Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159, equation 3) in plain PyTorch.

N images, M heads, L levels, P points a level, S tokens of all levels together, D width of a head.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


def sample_levels(value, shapes, locations, weights):
    """Weighted samples of the levels' maps. A fused kernel can take this function's place.

    value: (N, S, M, D), the levels' tokens one after the other; shapes: [(h, w), ...] of the L levels;
    locations: (N, S', M, L, P, 2), x and y in 0..1 of a level, outside of which the maps are zero;
    weights: (N, S', M, L, P). -> (N, S', M * D)
    """
    N, _, M, D = value.shape
    queries = locations.shape[1]
    sampled = []
    for i, (tokens, (h, w)) in enumerate(zip(value.split([h * w for h, w in shapes], 1), shapes, strict=True)):
        maps = tokens.permute(0, 2, 3, 1).reshape(N * M, D, h, w)
        grid = (2 * locations[:, :, :, i] - 1).transpose(1, 2).flatten(0, 1)
        sampled.append(F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False))
    weights = weights.transpose(1, 2).reshape(N * M, 1, queries, -1)
    summed = (torch.cat(sampled, -1) * weights).sum(-1)
    return summed.view(N, M * D, queries).transpose(1, 2)


class MSDeformAttn(nn.Module):
    """Each token reads a few learned places of every level around its own."""

    def __init__(self, width, *, num_levels, num_heads=8, num_points=4, kernel=sample_levels):
        """kernel: a function like sample_levels, which it must equal."""
        super().__init__()
        if width % num_heads:
            raise ValueError(f"deformable attention of width {width} cannot have {num_heads} heads; expected a divisor")
        self.num_heads, self.num_levels, self.num_points, self.kernel = num_heads, num_levels, num_points, kernel
        self.sampling_offsets = nn.Linear(width, num_heads * num_levels * num_points * 2)
        self.attention_weights = nn.Linear(width, num_heads * num_levels * num_points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self):
        """At first every head looks in its own direction, 1, 2, ... cells away, at all places alike."""
        nn.init.zeros_(self.sampling_offsets.weight)
        angle = torch.arange(self.num_heads, dtype=torch.float32) * (2 * math.pi / self.num_heads)
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.num_points + 1, dtype=torch.float32)
        bias = (direction[:, None, None] * steps[:, None]).expand(-1, self.num_levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(bias.reshape(-1))
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, query, reference, tokens, shapes):
        """query: (N, S', C); reference: (S', 2), x and y in 0..1; tokens: (N, S, C); shapes: [(h, w), ...]
        -> (N, S', C)."""
        N, queries = query.shape[:2]
        places = (N, queries, self.num_heads, self.num_levels, self.num_points)
        value = self.value_proj(tokens).unflatten(-1, (self.num_heads, -1))
        offsets = self.sampling_offsets(query).view(*places, 2)
        weights = self.attention_weights(query).view(*places[:3], -1).softmax(-1).view(places)
        cells = offsets.new_tensor([(w, h) for h, w in shapes])
        locations = reference[:, None, None, None] + offsets / cells[:, None]
        return self.output_proj(self.kernel(value, shapes, locations, weights))
