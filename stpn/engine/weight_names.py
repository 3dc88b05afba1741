"""Whose weights are these? Names in a checkpoint -> names in our model.

Our names are detectron2's (backbone.layers.0.blocks.0.attn.qkv.weight); a tracker's are CvT's and MixFormer's (below
backbone, box_head and score_branch), which need no translation. Every function here maps
{name: tensor} to {name: tensor}; names that belong to no known style pass through unchanged.
"""

import re

import numpy as np
import torch

from ..errors import InputError
from .checkpoint_file import RECOMPUTED

# Averaged weights come first: they are what their authors evaluate.
_CONTAINERS = (
    "model_ema", "ema_state_dict", "state_dict_ema", "ema_state", "ema",
    "model", "state_dict", "model_state", "module", "state", "weights",
    "net",  # MixFormer's and its relatives'
)  # fmt: skip
_WRAPPERS = ("module.", "_orig_mod.", "model.")

# mmdetection's Swin names, and timm's for a model built with features_only.
_SWIN_NAMES = [
    (re.compile(pattern), ours)
    for pattern, ours in (
        (r"\bpatch_embed\.projection\.", "patch_embed.proj."),
        (r"\bstages\.(\d+)\.", r"layers.\1."),
        (r"\blayers_(\d+)\.", r"layers.\1."),
        (r"\.attn\.w_msa\.", ".attn."),
        (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
        (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
    )
]
_FIRST_LAYERS = ("patch_embed.", "stage0.patch_embed.")  # of Swin, of CvT
_DOWNSAMPLE = re.compile(r"\blayers\.(\d+)\.downsample\.(?=norm\.|reduction\.)")


def choose_weights(checkpoint):
    """The weights in a read checkpoint -> ({name: tensor}, the container they were in, e.g. "model").

    Optimizer state, iteration and the like stay behind. Averaged (EMA) weights are preferred. Raises
    InputError if there is no tensor.
    """
    where = []
    while inside := [key for key in _CONTAINERS if isinstance(checkpoint.get(key), dict) and checkpoint[key]]:
        checkpoint = checkpoint[inside[0]]
        where.append(inside[0])
    weights = {
        str(name): _as_tensor(value)
        for name, value in checkpoint.items()
        if isinstance(value, torch.Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "biuf")
    }
    if not weights:
        keys = ", ".join(map(str, list(checkpoint)[:8])) or "nothing"
        raise InputError(f"there are no tensors in it, only {keys}")
    return weights, ".".join(where)


def to_model_names(weights, model_names):
    """Bring {name: tensor} of any known style to the style of model_names (the model's own names)."""
    ours = set(model_names)
    weights = _unwrap(weights, ours)
    weights = _mm_swin(weights)
    weights = _timm_swin(weights)
    weights = _early_mask2former(weights, ours)
    weights = {name: value for name, value in weights.items() if not name.endswith(RECOMPUTED)}
    return _place_backbone(weights, ours)


def _as_tensor(value):
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value, value.dtype.newbyteorder("=")))  # own memory, native bytes
    return value


def _unwrap(weights, ours):
    """Drop prefixes of wrappers: DistributedDataParallel, AveragedModel, torch.compile, mmtracking."""
    if any(name.startswith("module.") for name in weights):
        weights = {name: value for name, value in weights.items() if name != "n_averaged"}
    for prefix in _WRAPPERS * 2:  # they nest in either order
        theirs = all(name.startswith(prefix) for name in weights)
        if theirs and not any(name.startswith(prefix) for name in ours):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    weights = {name.removeprefix("detector."): value for name, value in weights.items()}
    # detectron2 keeps a Swin with a pyramid as backbone.bottom_up; ours has no such level.
    return {re.sub(r"^backbone\.bottom_up\.", "backbone.", name): value for name, value in weights.items()}


def _mm_swin(weights):
    theirs = any(re.search(r"\bstages\.\d+\.blocks\.\d+\.attn\.w_msa\.", name) for name in weights)
    renamed = {}
    for name, value in weights.items():
        for pattern, ours in _SWIN_NAMES:
            name = pattern.sub(ours, name)
        renamed[name] = _reorder_merging(value) if theirs and _DOWNSAMPLE.search(name) else value
    return renamed


def _reorder_merging(value):
    """(..., 4C) in mmdetection's order of a 2x2 patch -> detectron2's.

    They unfold: channel major, pixels row by row. detectron2 concatenates pixels column by column
    (0,0), (1,0), (0,1), (1,1), each with all its channels.
    """
    width = value.shape[-1]
    by_pixel = value.reshape(*value.shape[:-1], width // 4, 4).transpose(-1, -2)
    return by_pixel[..., [0, 2, 1, 3], :].reshape(value.shape)


def _timm_swin(weights):
    """timm (0.9 and later) merges patches at the start of a stage, so its number is one higher; the order
    of the pixels is detectron2's."""
    stages = {int(match[1]) for match in map(_DOWNSAMPLE.search, weights) if match}
    if not stages or 0 in stages:
        return weights
    lower = lambda match: f"layers.{int(match[1]) - 1}.downsample."  # noqa: E731
    return {_DOWNSAMPLE.sub(lower, name): value for name, value in weights.items()}


def _early_mask2former(weights, ours):
    """Mask2Former's first checkpoints had the pixel decoder directly below the head, and another name for the
    learned queries. What stands there today has "pixel_decoder." or "predictor." already."""
    head = re.compile(r"^sem_seg_head\.(?!pixel_decoder\.|predictor\.)")
    if not any(name.startswith("sem_seg_head.pixel_decoder.") for name in ours):
        return weights
    return {
        head.sub("sem_seg_head.pixel_decoder.", name).replace("static_query", "query_feat"): value
        for name, value in weights.items()
    }


def _place_backbone(weights, ours):
    """A file with an encoder alone goes below `backbone.`; a model that is an encoder takes what is there."""
    has = any(name.startswith("backbone.") for name in weights)
    wants = any(name.startswith("backbone.") for name in ours)
    if wants and not has and any(name.startswith(_FIRST_LAYERS) for name in weights):
        return {f"backbone.{name}": value for name, value in weights.items()}
    if has and not wants:
        return {name.removeprefix("backbone."): value for name, value in weights.items()}
    return weights
