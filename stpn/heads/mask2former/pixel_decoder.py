"""Mask2Former's pixel decoder: res5, res4, res3 read each other by deformable attention; res2 gives the masks' map."""

import fvcore.nn.weight_init as weight_init
import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d
from torch import nn

from .deformable import MSDeformAttn
from .position import sine_position

_FFN = 1024  # fixed in the published models, whatever DIM_FEEDFORWARD says
_GROUPS = 32  # of the group normalisations


class EncoderLayer(nn.Module):
    """x = norm1(x + deformable(x + position)); x = norm2(x + FFN(x))."""

    def __init__(self, width, *, num_levels, num_heads, dropout):
        super().__init__()
        self.self_attn = MSDeformAttn(width, num_levels=num_levels, num_heads=num_heads)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, _FFN)
        self.linear2 = nn.Linear(_FFN, width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, position, reference, shapes):
        x = self.norm1(x + self.dropout(self.self_attn(x + position, reference, x, shapes)))
        hidden = self.dropout(F.relu(self.linear1(x)))
        return self.norm2(x + self.dropout(self.linear2(hidden)))


class DeformableEncoder(nn.Module):
    """The levels' tokens as one sequence through the layers; level_embed tells the levels apart."""

    def __init__(self, width, *, num_levels, num_layers, num_heads, dropout):
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(
            EncoderLayer(width, num_levels=num_levels, num_heads=num_heads, dropout=dropout)
            for _ in range(num_layers))
        self.level_embed = nn.Parameter(torch.empty(num_levels, width))
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1 and "self_attn" not in name:
                nn.init.xavier_uniform_(parameter)
        nn.init.normal_(self.level_embed)

    def forward(self, maps):
        """maps: list of (N, C, h, w) -> list of the same shapes."""
        shapes = [tuple(m.shape[-2:]) for m in maps]
        x = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1)
        position = torch.cat([sine_position(h, w, x.shape[-1], device=x.device).flatten(1).T + level
                              for (h, w), level in zip(shapes, self.level_embed, strict=True)])
        reference = torch.cat([_centres(h, w, x.device) for h, w in shapes])
        for layer in self.encoder.layers:
            x = layer(x, position, reference, shapes)
        parts = x.split([h * w for h, w in shapes], 1)
        return [part.transpose(1, 2).unflatten(2, shape) for part, shape in zip(parts, shapes, strict=True)]


class PixelDecoder(nn.Module):
    """Features of the encoder -> the map that masks are read from, and three levels for the query decoder.

    Parameter names are Mask2Former's. It runs in float32 under automatic mixed precision, as published: its
    sampling places do not bear half precision.
    """

    def __init__(self, input_shape, *, conv_dim=256, mask_dim=256, num_layers=6, num_heads=8, dropout=0.0):
        """input_shape: {"res2".."res5": ShapeSpec}."""
        super().__init__()
        missing = {"res2", "res3", "res4", "res5"} - set(input_shape)
        if missing:
            raise ValueError(f"the pixel decoder got no {', '.join(sorted(missing))} from the encoder; add them to its "
                             "OUT_FEATURES")
        if conv_dim % _GROUPS:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.CONVS_DIM is {conv_dim}; expected a multiple of {_GROUPS}")
        self.levels = ("res5", "res4", "res3")
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(input_shape[name].channels, conv_dim, 1), nn.GroupNorm(_GROUPS, conv_dim))
            for name in self.levels)
        for projection in self.input_proj:
            nn.init.xavier_uniform_(projection[0].weight, gain=1)
            nn.init.zeros_(projection[0].bias)
        self.transformer = DeformableEncoder(conv_dim, num_levels=len(self.levels), num_layers=num_layers,
                                             num_heads=num_heads, dropout=dropout)
        self.adapter_1 = Conv2d(input_shape["res2"].channels, conv_dim, 1, bias=False,
                                norm=nn.GroupNorm(_GROUPS, conv_dim))
        self.layer_1 = Conv2d(conv_dim, conv_dim, 3, padding=1, bias=False, norm=nn.GroupNorm(_GROUPS, conv_dim),
                              activation=F.relu)
        self.mask_features = Conv2d(conv_dim, mask_dim, 1)
        for convolution in (self.adapter_1, self.layer_1, self.mask_features):
            weight_init.c2_xavier_fill(convolution)

    def forward(self, features):
        """{"res2".."res5": (N, c, h, w)} -> (mask features (N, mask_dim, H/4, W/4), [res5, res4, res3] of
        (N, conv_dim, h, w)), all float32."""
        with torch.autocast(features["res2"].device.type, enabled=False):
            maps = [projection(features[name].float())
                    for projection, name in zip(self.input_proj, self.levels, strict=True)]
            maps = self.transformer(maps)
            fine = self.adapter_1(features["res2"].float())
            coarse = F.interpolate(maps[-1], fine.shape[-2:], mode="bilinear", align_corners=False)
            return self.mask_features(self.layer_1(fine + coarse)), maps


def _centres(h, w, device):
    """-> (h * w, 2) x and y of the cells' centres, in 0..1."""
    y = (torch.arange(h, device=device, dtype=torch.float32) + 0.5) / h
    x = (torch.arange(w, device=device, dtype=torch.float32) + 0.5) / w
    return torch.stack([x.expand(h, -1), y[:, None].expand(-1, w)], -1).flatten(0, 1)
