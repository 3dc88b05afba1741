"""The score head of a tracker: is the target in the predicted box? (MixFormer's score prediction module)"""

import torch
import torch.nn.functional as F
from torch import nn

from .roi import precise_roi_pool

_POOLED = 4
_HEAD_WIDTH = 64


class ScoreHead(nn.Module):
    """A learned token reads the predicted box in the search map, then the first template.

    Parameter names are those of MixFormer's score_branch. Without residual and feed-forward, as published.
    """

    def __init__(self, width=384):
        super().__init__()
        self.num_heads = max(1, width // _HEAD_WIDTH)
        self.score_token = nn.Parameter(torch.zeros(1, 1, width))
        nn.init.trunc_normal_(self.score_token, std=0.02)
        for name in ("proj_q", "proj_k", "proj_v", "proj"):
            self.add_module(name, nn.ModuleList(nn.Linear(width, width) for _ in range(2)))
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.score_head = nn.Module()
        self.score_head.layers = nn.ModuleList(nn.Linear(width, out) for out in (width, width, 1))

    def forward(self, search, template, boxes):
        """search: (B, C, h, w) and template: (B, C, h', w') maps of the encoder; boxes: (B, 4) x1 y1 x2 y2 relative to
        the search region. -> (B,) logits."""
        rois = boxes * search.shape[-1]  # the width counts for both axes, as published: search regions are square
        index = torch.arange(len(rois), device=rois.device, dtype=rois.dtype)[:, None]
        pooled = precise_roi_pool(search, torch.cat([index, rois], 1), _POOLED)
        x = self.norm1(self.score_token.expand(len(search), -1, -1))
        for i, seen in enumerate((pooled, template)):
            x = self.norm2[i](self._read(i, x, seen.flatten(2).transpose(1, 2)))
        *hidden, last = self.score_head.layers
        for layer in hidden:
            x = F.relu(layer(x))
        return last(x)[:, 0, 0]

    def _read(self, i, x, tokens):
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
                   for part in (self.proj_q[i](x), self.proj_k[i](tokens), self.proj_v[i](tokens)))
        read = F.scaled_dot_product_attention(q, k, v, scale=x.shape[-1] ** -0.5)
        return self.proj[i](read.transpose(1, 2).flatten(2))
