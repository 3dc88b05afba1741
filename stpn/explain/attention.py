"""Attention of prompts: what they read of the support frames, and where the current frame reads them.

Letters as in stpn/prompting/predictor.py: K support frames of h w tokens, P prompts.
"""

import contextlib

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from ..encoders import windows as win
from ..encoders.cvt_block import MixedAttention
from ..encoders.swin_block import WindowAttention
from ..errors import InputError
from ..prompting import ReleasedAttentionPredictor, TransformerPredictor
from .stages import encoder_stages


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
    """support: (1, K, h, w, C) -> (P, K, h, w), how much prompt p reads of each token, mean over heads; each prompt's
    sum is 1. InputError for a predictor that does not attend to tokens."""
    if isinstance(predictor, TransformerPredictor):
        weights = _weights_of_layer(predictor.attention, lambda: predictor.predict(support))
    elif isinstance(predictor, ReleasedAttentionPredictor):
        with _Attentions() as recorded:
            predictor.predict(support)
        (weights,) = recorded.weights
    else:
        raise InputError(f"{type(predictor).__name__} does not attend to support tokens, so that there is no reading "
                         "to show; expected a TransformerPredictor or ReleasedAttentionPredictor")
    return weights[0].unflatten(-1, support.shape[1:4])


def _weights_of_layer(attention, run):
    """attention: nn.MultiheadAttention, which is called once while run() runs. PyTorch hides its inside from function
    modes, so that it is asked for its weights. -> (B, queries, keys), mean over heads."""
    kept = []

    def with_weights(module, arguments, options):
        return arguments, {**options, "need_weights": True, "average_attn_weights": True}

    with contextlib.ExitStack() as stack:
        stack.callback(attention.register_forward_pre_hook(with_weights, with_kwargs=True).remove)
        stack.callback(attention.register_forward_hook(lambda module, _, output: kept.append(output[1])).remove)
        run()
    return kept[0]


@torch.no_grad()
def prompt_reading(backbone, images, prompts, **context):
    """images: (1, 3, H, W) normalised; prompts, context: as the backbone takes them. -> a list with (P, h, w) of each
    block of a PromptedSwin or PromptedCvT: the share of its attention that each patch spends on prompt p, mean over
    heads; 0..1. The blocks' names: block_names(backbone)."""
    maps, readers = [], {WindowAttention: _window_weights, MixedAttention: _mixed_weights}
    with contextlib.ExitStack() as stack:
        for block in (block for blocks in encoder_stages(backbone).values() for block in blocks):
            hook = block.attn.register_forward_hook(lambda module, arguments, options, output: maps.append(
                readers[type(module)](module, *arguments, **options)), with_kwargs=True)
            stack.callback(hook.remove)
        backbone(images, prompts=prompts, **context)
    return maps


def block_names(backbone):
    """-> (stage, number in it) of each block, in order."""
    return [(stage, i) for stage, blocks in encoder_stages(backbone).items() for i in range(len(blocks))]


def _window_weights(attention, x, size, *, shift, keep):
    """The block's attention once more, with its weights -> (P, h, w)."""
    P = x.shape[1] - size[0] * size[1]
    with _Attentions() as recorded:
        WindowAttention.forward(attention, x, size, shift=shift, keep=keep)
    _, _, places = win.window_order(tuple(size), attention.side, shift, P, keep, x.device)
    (weights,) = recorded.weights  # (windows, keep + N, P + N)
    return weights[..., :P].flatten(0, 1)[places].T.unflatten(1, tuple(size))


def _mixed_weights(attention, x, size, n, context):
    """The same of one image's patches: the prompts' keys are the last, after those of templates and patches."""
    T = size[0] * size[1]
    P = x.shape[1] - T
    with _Attentions() as recorded:
        MixedAttention.forward(attention, x, size, n, context)
    (weights,) = recorded.weights  # (1, T + P, keys)
    return weights[0, :T, weights.shape[2] - P:].T.unflatten(1, tuple(size))
