"""CvT classifiers and MixFormer's trackers on them, for convert.py: names, what may be left out, the forward.

Our names are theirs: PromptedCvT has those of CvT's authors, VideoObjectTracker those of MixFormer.
"""

import re
from typing import NamedTuple

import numpy as np
import torch

from ...errors import InputError
from ..weight_names import to_model_names
from .check import check_finite_outputs

KINDS = ("cvt", "mixformer")
BACKBONE = "PromptedCvT"
_HEADS = ("box_head.", "score_branch.")
_HEAD_WIDTH = 64  # channels of an attention head in every published CvT
_LEFT_OUT = (
    (re.compile(r"backbone\.(norm|head)\."), "the classifier's own"),
    (re.compile(r"backbone\.stage\d\.cls_token$"), "the class token, which trackers have not"),
)
_BLOCK = re.compile(r"backbone\.stage(\d)\.blocks\.(\d+)\.")


def default_part(kind):
    return "model" if kind == "mixformer" else "backbone"


def translate(source, cfg, part, box_stds):
    """-> ({our name: tensor}, lines to report)."""
    if box_stds is not None:
        raise InputError("--box-stds is about Faster R-CNN's box heads, of which there is none in it; drop it")
    if part == "model" and source.kind == "cvt":
        raise InputError("it is a classifier and has no heads of a tracker; take --part backbone")
    weights = to_model_names(source.weights, ("backbone.stage0.patch_embed.proj.weight",))
    if any(name.startswith("prompt_predictor.") for name in weights):
        raise InputError("it is a tracker of this project and has our names already; give it as MODEL.WEIGHTS")
    if part == "model" and cfg.MODEL.MIXFORMER.SCORE_HEAD and not _has(weights, "score_branch."):
        raise InputError("there is no score head in it (score_branch.*): it is of MixFormer's first stage, and with a "
                         "random one a tracker would take its templates anywhere; take the config file of the first "
                         "stage, or train the second one from it (MODEL.WEIGHTS)")
    return weights, []


def config_keys(weights, cfg, part):
    """-> {config key: value} that the weights show; {} for an encoder that is not all there."""
    blocks = {tuple(map(int, match.groups())) for match in map(_BLOCK.match, weights) if match}
    depths = [1 + max(j for i, j in blocks if i == stage) for stage in sorted({i for i, _ in blocks})]
    embeds = [weights.get(f"backbone.stage{stage}.patch_embed.proj.weight") for stage in range(len(depths))]
    hidden = weights.get("backbone.stage0.blocks.0.mlp.fc1.weight")
    if len(depths) != 3 or hidden is None or any(value is None for value in embeds):
        return {}  # the names that are missing say more
    if not _has(weights, "box_head."):
        # MixFormer-L takes the first 12 of CvT-W24's 20 last blocks: less than the whole classifier is allowed.
        depths[-1] = min(depths[-1], cfg.MODEL.CVT.DEPTHS[-1])
    keys = {"MODEL.CVT.WIDTHS": [len(value) for value in embeds], "MODEL.CVT.DEPTHS": depths,
            "MODEL.CVT.MLP_RATIO": len(hidden) / hidden.shape[1]}
    return keys | _tracker_keys(weights) if part == "model" else keys


def _tracker_keys(weights):
    keys = {"MODEL.META_ARCHITECTURE": "VideoObjectTracker", "MODEL.STPN.ENABLED": False,
            "MODEL.MIXFORMER.SCORE_HEAD": _has(weights, "score_branch.")}
    first = weights.get("box_head.conv1_tl.0.weight")
    return keys if first is None else {**keys, "MODEL.MIXFORMER.HEAD_DIM": len(first)}


def starts_fresh(name, part):
    """May a tensor of the model be absent from the source?"""
    return False


def reason_left_out(name, part, cfg):
    """Why a tensor of the source that the model has not may be left out; None if results depend on it."""
    reason = next((text for pattern, text in _LEFT_OUT if pattern.match(name)), None)
    block = _BLOCK.match(name)
    if block and int(block[1]) == 2 and int(block[2]) >= cfg.MODEL.CVT.DEPTHS[-1]:
        return "blocks beyond MODEL.CVT.DEPTHS; MixFormer leaves them out as well"
    if reason or name.startswith("backbone.") or part == "model" and name.startswith(_HEADS):
        return reason
    if part == "backbone":
        return "not of the encoder (--part model converts MixFormer's heads, too)"
    return "the configured model has no such part"


@torch.no_grad()
def verify(source, model, weights, cfg, part):
    """-> lines. Raises InputError if an output is not finite."""
    if part == "model":
        return [_check_tracker(model)]
    picture = torch.randn(1, 3, 75, 107, generator=torch.Generator().manual_seed(0))
    check_finite_outputs("the encoder", model["backbone"](picture))
    return ["the encoder's three maps are finite; no module of the source's project is installed to compare with"]


class _Noise(NamedTuple):
    image: np.ndarray


def _check_tracker(model):
    """Every part of a tracker on two frames of noise."""
    noise = np.random.default_rng(0).integers(256, size=(2, 96, 128, 3), dtype=np.uint8)
    seen, parts = [], {"the encoder": model.backbone, "the corner head": model.box_head,
                       "the score head": model.score_branch}
    hooks = [part.register_forward_hook(lambda _, __, out, name=name: seen.append((name, out)))
             for name, part in parts.items() if part is not None]
    try:
        model([{"frames": [{"frame": _Noise(image)} for image in noise], "box": [40, 30, 32, 24]}])
    finally:
        for hook in hooks:
            hook.remove()
    for name, output in seen:
        check_finite_outputs(name, output)
    return f"the whole tracker on two frames of noise: every output finite ({', '.join(dict(seen))})"


def notes(source, weights, cfg, part):
    """Lines on what the weights cannot show, and on what is not in them."""
    widths, heads = cfg.MODEL.CVT.WIDTHS, cfg.MODEL.CVT.NUM_HEADS
    lines = [f"taken from the config, as no weight shows it: MODEL.CVT.NUM_HEADS {list(heads)}"]
    usual = [width // _HEAD_WIDTH for width in widths]
    if not any(width % _HEAD_WIDTH for width in widths) and usual != list(heads):
        lines.append(f"not as published: attention heads have {_HEAD_WIDTH} channels there, which would be "
                     f"MODEL.CVT.NUM_HEADS {usual}")
    if part == "model":
        lines.append("and sizes and factors of templates and search region (INPUT.TRACKING), update of the templates "
                     "(TEST.TRACKING)")
        if not _has(weights, "score_branch."):
            lines.append("there is no score head in it (MixFormer's first stage): with it alone templates are never "
                         "updated, and no score says whether the target is lost")
    return lines


def _has(weights, prefix):
    return any(name.startswith(prefix) for name in weights)
