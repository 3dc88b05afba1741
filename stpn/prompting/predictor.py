"""Predictors: support embeddings -> dynamic video prompts (STPN section 3.2).

Legend: B batch, K support frames, h w token grid of the last stage, C its width (d_L in the paper),
d the width of the first layer, P prompts (N_P), L layers, c_l the width before layer l.

    forward(support: (B, K, h, w, C)) -> tuple of (B, P, c_l)     one tensor (shallow) or one per layer (deep)

A new predictor is one registered class here: subclass PromptPredictor and write `predict`.
"""

import torch
import torch.nn.functional as F
from fvcore.common.registry import Registry
from torch import nn

PROMPT_PREDICTOR_REGISTRY = Registry("PROMPT_PREDICTOR")


class PromptPredictor(nn.Module):
    """What all predictors share: from one (B, P, d) to the prompts of every layer that wants some.

    prompt_widths: widths of the layers to prompt: the first alone for shallow prompts, all L for deep ones,
    where one linear layer per block follows the prediction (equation 11).
    """

    def __init__(self, prompt_widths):
        super().__init__()
        deep = len(prompt_widths) > 1
        self.to_layers = nn.ModuleList(nn.Linear(prompt_widths[0], c) for c in prompt_widths if deep)

    def forward(self, support):
        prompts = self.predict(support)
        return tuple(layer(prompts) for layer in self.to_layers) or (prompts,)

    def predict(self, support):
        """(B, K, h, w, C) -> (B, P, d)."""
        raise NotImplementedError


def _heads_fit(width, num_heads):
    if width % num_heads:
        raise ValueError(f"prompt width {width} does not divide into {num_heads} heads; "
                         "set MODEL.STPN.PREDICTOR.NUM_HEADS to a divisor")


@PROMPT_PREDICTOR_REGISTRY.register()
class TransformerPredictor(PromptPredictor):
    """Learnt queries attend to all tokens of all support frames (equations 2 to 4), at width d.

    The paper writes the equations at width d_L, where they would cost 2.4M parameters and not the 0.11M it
    counts, and adds terms of different widths; projecting d_L -> d first resolves both (45.01M for Swin-T
    Faster R-CNN). hidden_dim of the FFN defaults to d / 4.

    token_norm: normalise each channel of the support tokens over the batch (running statistics when
    testing) before the projection. Off is the paper. In small networks trained from little data the
    embeddings of all videos share one large component; without it the prompts of all videos come out alike.
    """

    def __init__(self, *, support_width, prompt_widths, num_prompts=7, num_heads=16, hidden_dim=None,
                 token_norm=False):
        super().__init__(prompt_widths)
        d = prompt_widths[0]
        _heads_fit(d, num_heads)
        hidden = hidden_dim or max(1, d // 4)
        self.token_norm = nn.BatchNorm1d(support_width, affine=False) if token_norm else None
        self.project = nn.Linear(support_width, d)
        # Small beside the unit variance of the tokens, so that what was attended can show.
        self.query = nn.Parameter(0.3 * torch.randn(num_prompts, d))
        self.norm_query, self.norm_support, self.norm_ffn = nn.LayerNorm(d), nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = nn.MultiheadAttention(d, num_heads, batch_first=True)
        self.ffn = nn.Sequential(nn.Linear(d, hidden), nn.GELU(), nn.Linear(hidden, d))

    def predict(self, support):
        tokens = support.flatten(1, 3)  # (B, K*h*w, C): the order of the support frames does not matter
        if self.token_norm is not None:
            tokens = self.token_norm(tokens.flatten(0, 1)).view_as(tokens)
        tokens = self.norm_support(self.project(tokens))
        query = self.query.expand(len(tokens), -1, -1)
        attended, _ = self.attention(self.norm_query(query), tokens, tokens, need_weights=False)
        prompts = self.norm_ffn(query + attended)  # equation 3, then LN of equation 4
        return self.ffn(prompts) + prompts


@PROMPT_PREDICTOR_REGISTRY.register()
class MixerPredictor(PromptPredictor):
    """Mean over the support frames, then mixing over tokens and over channels (equations 5 to 7).

    Equation 6 needs a fixed number of tokens: the mean map is pooled to pooled_size x pooled_size, which is
    our answer to images of any size. Token FFN n -> n -> P, channel FFN d_L -> 3d/4 -> d (44.96M).
    """

    def __init__(self, *, support_width, prompt_widths, num_prompts=7, pooled_size=7, hidden_dim=None):
        super().__init__(prompt_widths)
        d, n = prompt_widths[0], pooled_size ** 2
        hidden = hidden_dim or max(1, 3 * d // 4)
        self.pooled_size = pooled_size
        self.norm_tokens = nn.LayerNorm(support_width)
        self.mix_tokens = nn.Sequential(nn.Linear(n, n), nn.GELU(), nn.Linear(n, num_prompts))
        self.norm_prompts = nn.LayerNorm(num_prompts)
        self.mix_channels = nn.Sequential(nn.Linear(support_width, hidden), nn.GELU(), nn.Linear(hidden, d))

    def predict(self, support):
        mean = support.mean(1).permute(0, 3, 1, 2)  # equation 5: (B, C, h, w)
        tokens = F.adaptive_avg_pool2d(mean, self.pooled_size).flatten(2).transpose(1, 2)  # (B, n, C)
        mixed = self.mix_tokens(self.norm_tokens(tokens).transpose(1, 2))  # equation 6: (B, C, P)
        return self.mix_channels(self.norm_prompts(mixed).transpose(1, 2))  # equation 7: (B, P, d)


@PROMPT_PREDICTOR_REGISTRY.register()
class ReleasedAttentionPredictor(PromptPredictor):
    """The "transformer" of the authors' code: projection, then one attention, nothing else.

    Parameter names are theirs, so converted checkpoints load. Use it with MODEL.SWIN.PROMPT_MERGE "released".
    """

    def __init__(self, *, support_width, prompt_widths, num_prompts=5, num_heads=16):
        super().__init__(prompt_widths)
        d = prompt_widths[0]
        _heads_fit(d, num_heads)
        self.num_heads = num_heads
        self.query = nn.Parameter(torch.randn(num_prompts, d))
        self.reduction = nn.Linear(support_width, d)
        self.fc_embed, self.ref_fc_embed = nn.Linear(d, d), nn.Linear(d, d)
        self.ref_fc, self.fc = nn.Linear(d, d), nn.Linear(d, d)

    def predict(self, support):
        tokens = self.reduction(support.flatten(1, 3))
        query = self._split(self.fc_embed(self.query).expand(len(tokens), -1, -1))
        out = F.scaled_dot_product_attention(query, self._split(self.ref_fc_embed(tokens)),
                                             self._split(self.ref_fc(tokens)))
        return self.fc(out.transpose(1, 2).flatten(2))

    def _split(self, x):
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


@PROMPT_PREDICTOR_REGISTRY.register()
class ReleasedTopKPredictor(PromptPredictor):
    """The "mixer" of the authors' code: per frame the P tokens of largest L1 norm, the mean of each rank over
    the frames, one linear layer. A frame with fewer than P tokens repeats its smallest."""

    def __init__(self, *, support_width, prompt_widths, num_prompts=5):
        super().__init__(prompt_widths)
        self.num_prompts = num_prompts
        self.reduction = nn.Linear(support_width, prompt_widths[0])

    def predict(self, support):
        tokens = support.flatten(2, 3)  # (B, K, h*w, C)
        rank = tokens.abs().sum(-1).argsort(dim=-1, descending=True, stable=True)
        pick = torch.arange(self.num_prompts, device=rank.device).clamp(max=rank.shape[-1] - 1)
        rank = rank[..., pick, None].expand(-1, -1, -1, tokens.shape[-1])
        return self.reduction(tokens.gather(2, rank).mean(1))


@PROMPT_PREDICTOR_REGISTRY.register()
class ConstantPredictor(PromptPredictor):
    """Learnt prompts, the same for every video, whatever its support frames show (VPT, arXiv 2203.12119): a control."""

    def __init__(self, *, support_width, prompt_widths, num_prompts=7):
        super().__init__(prompt_widths)
        self.prompts = nn.Parameter(0.3 * torch.randn(num_prompts, prompt_widths[0]))

    def predict(self, support):
        return self.prompts.expand(len(support), -1, -1)


_NOT_ASKED = {"hidden_dim": 0, "token_norm": False}


def build_prompt_predictor(cfg, backbone):
    """The predictor that cfg.MODEL.STPN asks for, fitted to the backbone's widths; None when STPN is off.

    NUM_HEADS goes to the predictors with attention. HIDDEN_DIM and TOKEN_NORM are refused by those without them.
    """
    stpn = cfg.MODEL.STPN
    if not stpn.ENABLED:
        return None
    if stpn.NUM_PROMPTS < 1:
        raise ValueError(f"NUM_PROMPTS is {stpn.NUM_PROMPTS}; expected at least 1 (ENABLED False is the baseline)")
    if stpn.PREDICTOR.NAME not in PROMPT_PREDICTOR_REGISTRY:
        known = ", ".join(name for name, _ in PROMPT_PREDICTOR_REGISTRY)
        raise ValueError(f"prompt predictor {stpn.PREDICTOR.NAME!r} is not known; expected one of {known}")
    widths = backbone.prompt_widths if stpn.DEEP else backbone.prompt_widths[:1]
    support_width = backbone.embed_width
    options = {"num_heads": stpn.PREDICTOR.NUM_HEADS, "hidden_dim": stpn.PREDICTOR.HIDDEN_DIM or None,
               "token_norm": stpn.PREDICTOR.TOKEN_NORM}
    predictor = PROMPT_PREDICTOR_REGISTRY.get(stpn.PREDICTOR.NAME)
    known = predictor.__init__.__kwdefaults__
    refused = [name for name, value in options.items() if value and name not in known and name != "num_heads"]
    if refused:
        raise ValueError(f"{stpn.PREDICTOR.NAME} has no option {', '.join(refused)}; "
                         f"set MODEL.STPN.PREDICTOR.{refused[0].upper()} {_NOT_ASKED[refused[0]]}, its default")
    return predictor(support_width=support_width, prompt_widths=widths, num_prompts=stpn.NUM_PROMPTS,
                     **{name: value for name, value in options.items() if name in known})
