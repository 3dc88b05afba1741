"""Mask2Former's query decoder: queries read the pixels of their own mask, level by level.

N frames, Q queries, C width, K classes. Nothing here knows of time: frames lie on the batch axis.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .position import sine_position


class CrossAttention(nn.Module):
    """x = norm(x + attention(x + query position, pixels + position, pixels)), over pixels that are not masked."""

    def __init__(self, width, num_heads):
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, x, query_pos, pixels, position, blocked):
        """blocked: (N, Q, h*w) bool."""
        blocked = blocked.repeat_interleave(self.multihead_attn.num_heads, 0)
        read, _ = self.multihead_attn(x + query_pos, pixels + position, pixels, attn_mask=blocked, need_weights=False)
        return self.norm(x + read)


class SelfAttention(nn.Module):
    """x = norm(x + attention(x + query position, x + query position, x))."""

    def __init__(self, width, num_heads):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, x, query_pos):
        placed = x + query_pos
        return self.norm(x + self.self_attn(placed, placed, x, need_weights=False)[0])


class FeedForward(nn.Module):
    """x = norm(x + linear2(relu(linear1(x))))."""

    def __init__(self, width, hidden):
        super().__init__()
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        return self.norm(x + self.linear2(F.relu(self.linear1(x))))


class MLP(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, width, out_width):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, out_width)])

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class QueryDecoder(nn.Module):
    """Learned queries through masked cross-attention, self-attention and a feed-forward net, num_layers times.

    Parameter names are Mask2Former's. Classes and masks are predicted from the learned queries and after every
    layer; each layer reads only the pixels that the masks before it cover.
    """

    def __init__(self, *, num_classes, width=256, mask_dim=256, num_queries=100, num_layers=9, num_heads=8,
                 hidden=2048, num_levels=3):
        super().__init__()
        self.num_levels = num_levels
        self.transformer_cross_attention_layers = nn.ModuleList(
            CrossAttention(width, num_heads) for _ in range(num_layers))
        self.transformer_self_attention_layers = nn.ModuleList(
            SelfAttention(width, num_heads) for _ in range(num_layers))
        self.transformer_ffn_layers = nn.ModuleList(FeedForward(width, hidden) for _ in range(num_layers))
        for layers in (self.transformer_cross_attention_layers, self.transformer_self_attention_layers,
                       self.transformer_ffn_layers):
            for parameter in layers.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)
        self.decoder_norm = nn.LayerNorm(width)
        self.query_feat = nn.Embedding(num_queries, width)
        self.query_embed = nn.Embedding(num_queries, width)
        self.level_embed = nn.Embedding(num_levels, width)
        self.class_embed = nn.Linear(width, num_classes + 1)
        self.mask_embed = MLP(width, mask_dim)

    def forward(self, levels, mask_features):
        """levels: [res5, res4, res3] of (N, C, h, w); mask_features: (N, mask_dim, H, W).

        -> {"pred_logits": (N, Q, K + 1), the last is "no object"; "pred_masks": (N, Q, H, W) logits;
            "pred_embeds": (N, Q, C); in training also "aux_outputs": the first two before the first layer and after
            each but the last}
        """
        shapes = [tuple(level.shape[-2:]) for level in levels]
        pixels = [level.flatten(2).transpose(1, 2) + self.level_embed.weight[i] for i, level in enumerate(levels)]
        positions = [sine_position(h, w, level.shape[1], device=level.device).flatten(1).T
                     for level, (h, w) in zip(levels, shapes, strict=True)]
        x = self.query_feat.weight.expand(len(mask_features), -1, -1)
        query_pos = self.query_embed.weight
        outputs = [self._predict(x, mask_features)]
        for i in range(len(self.transformer_ffn_layers)):
            level = i % self.num_levels
            blocked = _blocked(outputs[-1]["pred_masks"], shapes[level])
            x = self.transformer_cross_attention_layers[i](x, query_pos, pixels[level], positions[level], blocked)
            x = self.transformer_self_attention_layers[i](x, query_pos)
            x = self.transformer_ffn_layers[i](x)
            outputs = [*(outputs if self.training else []), self._predict(x, mask_features)]
        final = {**outputs[-1], "pred_embeds": self.decoder_norm(x)}
        return {**final, "aux_outputs": outputs[:-1]} if self.training else final

    def _predict(self, x, mask_features):
        x = self.decoder_norm(x)
        masks = torch.einsum("nqc,nchw->nqhw", self.mask_embed(x), mask_features)
        return {"pred_logits": self.class_embed(x), "pred_masks": masks}


def _blocked(masks, shape):
    """Mask logits (N, Q, H, W) -> (N, Q, h*w) bool: the pixels that a query must not read, outside of its mask.

    A query with an empty mask reads everything: attention over nothing is not a number.
    """
    with torch.no_grad():
        outside = F.interpolate(masks, shape, mode="bilinear", align_corners=False).flatten(2).sigmoid() < 0.5
        return outside & ~outside.all(-1, keepdim=True)
