"""Attention of prompts: what they read of the support frames, and where the current frame reads them.

Letters as in stpn/prompting/predictor.py: K support frames of h w tokens, P prompts.
"""

import contextlib

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from ..encoders import windows as win
from ..encoders.swin_block import WindowAttention
from ..errors import InputError
from ..prompting import TransformerPredictor


class _Attentions(TorchFunctionMode):
    """Inside, the weights of every scaled_dot_product_attention are kept, mean over heads: (B, queries, keys)."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def __torch_function__(self, function, types, arguments=(), options=None):
        options = options or {}
        if function is F.scaled_dot_product_attention:
            self.weights.append(_weights(*arguments[:2], options.get("attn_mask"), options.get("scale")))
        return function(*arguments, **options)


def _weights(q, k, bias, scale):
    scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    return (scores if bias is None else scores + bias).softmax(-1).mean(1)


@torch.no_grad()
def support_reading(predictor, support):
    """support: (1, K, h, w, C) -> (P, K, h, w), how much prompt p reads of each token; each prompt's sum is 1.

    predictor: a TransformerPredictor. InputError for another, which does not attend to tokens."""
    if not isinstance(predictor, TransformerPredictor):
        raise InputError(f"{type(predictor).__name__} does not attend to support tokens; only a TransformerPredictor's "
                         "reading can be shown")
    kept = []

    def with_weights(module, arguments, options):
        return arguments, {**options, "need_weights": True, "average_attn_weights": True}

    hooks = [predictor.attention.register_forward_pre_hook(with_weights, with_kwargs=True),
             predictor.attention.register_forward_hook(lambda module, arguments, output: kept.append(output[1]))]
    try:
        predictor.predict(support)
    finally:
        for hook in hooks:
            hook.remove()
    return kept[0][0].unflatten(-1, support.shape[1:4])


@torch.no_grad()
def prompt_reading(backbone, images, prompts):
    """images: (1, 3, H, W) normalised; prompts: as the backbone takes them. -> a list with (P, h, w) of each block of a
    PromptedSwin: the share of its attention that each patch spends on prompt p, mean over heads; 0..1."""
    maps = []
    with contextlib.ExitStack() as stack:
        for attention in (module for module in backbone.modules() if isinstance(module, WindowAttention)):
            hook = attention.register_forward_hook(lambda module, arguments, options, output: maps.append(
                _patch_weights(module, *arguments, **options)), with_kwargs=True)
            stack.callback(hook.remove)
        backbone(images, prompts=prompts)
    if not maps:
        raise InputError(f"{type(backbone).__name__} has no windows; where prompts are read can be shown of a "
                         "PromptedSwin")
    return maps


def _patch_weights(attention, x, size, *, shift, keep):
    """The block's attention once more, with its weights -> (P, h, w)."""
    P = x.shape[1] - size[0] * size[1]
    with _Attentions() as recorded:
        WindowAttention.forward(attention, x, size, shift=shift, keep=keep)
    _, _, places = win.window_order(tuple(size), attention.side, shift, P, keep, x.device)
    (weights,) = recorded.weights  # (windows, keep + N, P + N)
    return weights[..., :P].flatten(0, 1)[places].T.unflatten(1, tuple(size))
