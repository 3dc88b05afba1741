"""The corner head of a tracker: where the upper left and the lower right corner of the target are."""

import torch
from detectron2.layers import FrozenBatchNorm2d
from torch import nn

_TOWER = 4  # convolutions before the last


class CornerHead(nn.Module):
    """Search map -> box, by the expectation of two distributions over its cells (STARK, arXiv 2103.17154).

    Parameter names are those of MixFormer's box_head. Nothing makes the second corner lie beyond the first.
    """

    def __init__(self, in_width, *, width=384, freeze_bn=False):
        """width: of the first convolution; it is halved from layer to layer. freeze_bn: batch normalisations keep
        their loaded statistics (second stage of training)."""
        super().__init__()
        if width % 8:
            raise ValueError(f"corner head of width {width}; expected a multiple of 8")
        norm = FrozenBatchNorm2d if freeze_bn else nn.BatchNorm2d
        widths = [in_width, width, width // 2, width // 4, width // 8]
        for corner in ("tl", "br"):
            for i in range(_TOWER):
                layer = nn.Sequential(nn.Conv2d(widths[i], widths[i + 1], 3, padding=1), norm(widths[i + 1]), nn.ReLU())
                self.add_module(f"conv{i + 1}_{corner}", layer)
            self.add_module(f"conv{_TOWER + 1}_{corner}", nn.Conv2d(widths[-1], 1, 1))

    def forward(self, features):
        """(B, C, h, w) -> (B, 4) x1 y1 x2 y2 relative to the search region, 0..(w-1)/w: a cell counts from its upper
        left corner, as published."""
        return torch.cat([_expectation(self.score_map(features, corner)) for corner in ("tl", "br")], 1)

    def score_map(self, features, corner):
        """corner: "tl" or "br". -> (B, 1, h, w) logits."""
        for i in range(_TOWER + 1):
            features = getattr(self, f"conv{i + 1}_{corner}")(features)
        return features


def _expectation(logits):
    """(B, 1, h, w) -> (B, 2) x, y."""
    h, w = logits.shape[-2:]
    share = logits.flatten(1).softmax(1).view(-1, h, w)
    x = (share.sum(1) * torch.arange(w, device=share.device)).sum(1) / w
    y = (share.sum(2) * torch.arange(h, device=share.device)).sum(1) / h
    return torch.stack([x, y], 1)
