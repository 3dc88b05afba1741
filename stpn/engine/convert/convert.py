"""convert: weights of other projects -> a .safetensors file in our names, verified by a forward before it is written.

Reading and telling apart: source.py; names: ../weight_names.py (encoder), names.py (neck, heads); what
shapes say about the configuration: config.py; the forward: check.py.
"""

import os
import re
from pathlib import Path

from detectron2.modeling import build_backbone
from torch import nn

from ...errors import InputError
from ..checkpoint_file import RECOMPUTED, export_safetensors
from ..model import build_model
from ..weights import compare, put
from .check import check_detector, check_encoder
from .config import check_anchors, check_config, encoder_keys, notes
from .names import (
    HEAD_PARTS,
    choose_box_stds,
    detector_names,
    encoder_names,
    refuse_unknown_heads,
    rescale_box_regression,
)
from .source import read_source

PARTS = ("backbone", "model")
_CLASSIFIER = re.compile(r"backbone\.(norm|head|avgpool)\.")
_OUTPUT_NORM = re.compile(r"backbone\.norm\d+\.")
_PREDICTOR = re.compile(r"backbone\.layers\.\d+\.predictor\.")
_PYRAMID = re.compile(r"backbone\.fpn_(lateral|output)\d\.")  # detectron2 counts it to the backbone


def convert(source, output, cfg, *, kind="auto", part=None, box_stds=None, overwrite=False, config_name=""):
    """Write the weights in source to output, for the model that cfg describes -> lines that say what was done.

    source: a weight file, or "timm:NAME". kind: see source.KINDS, or "auto". part: "backbone", the encoder
    alone, to train from; "model", the whole detector, to use; by default the model for the authors' checkpoints and
    the encoder for all others. box_stds: see choose_box_stds. config_name: what the file shall say of cfg.
    Raises InputError, and writes nothing, unless every tensor of that part comes from the source and the forward
    proves it.
    """
    check_output(source, output, overwrite)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cpu"
    source = read_source(source, kind)
    part = part or ("model" if source.kind == "stpn" else "backbone")
    try:
        weights, lines = translate(source, cfg, part, box_stds)
    except InputError as error:
        raise InputError(f"{source.name}: {error}") from None
    check_config(weights, cfg, source.name, part=part)
    model = build_model(cfg) if part == "model" else _encoder(cfg)
    report = compare(weights, model.state_dict(), source=source.name)
    fresh = _check_complete(report, weights, part)
    put(model.eval(), weights, report.matched)
    verified = _verify(source, model, encoder_keys(weights, cfg), part)
    if part == "model":
        lines += notes(cfg, source)
    state = model.state_dict()
    metadata = {"source": source.name, "sha256": source.digest, "kind": source.kind, "part": part,
                "config": config_name, "verified": "; ".join(verified)}
    export_safetensors({name: state[name] for name in report.matched}, output, metadata=metadata)
    return [f"read {source.name}: {source.kind}, {len(source.weights)} tensors, SHA-256 {source.digest}",
            f"converted {len(report.matched)} tensors: {part}", *_skipped(source, report, part), *fresh, *lines,
            *(f"verified: {text}" for text in verified),
            f"wrote {output} ({os.path.getsize(output) / 1e6:.1f} MB)"]


def check_output(source, output, overwrite):
    """Before any work: raise InputError if output cannot be written or must not be."""
    output = Path(output)
    if output.suffix != ".safetensors":
        raise InputError(f"{output}: expected a name that ends in .safetensors")
    if not output.parent.is_dir():
        raise InputError(f"{output}: there is no folder {output.parent}; make it first")
    if output.is_dir() or (output.exists() and Path(source).exists() and output.samefile(source)):
        raise InputError(f"{output} is {'a folder' if output.is_dir() else 'the source itself'}; name another file")
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists; name another file, or replace it with --overwrite")


def translate(source, cfg, part, box_stds):
    """-> ({our name: tensor}, lines to report)."""
    if part == "backbone":
        if box_stds is not None:
            raise InputError("--box-stds is about box heads; it needs --part model")
        return encoder_names(source.weights), []
    refuse_unknown_heads(encoder_names(source.weights))
    check_anchors(cfg)
    levels = [int(name.removeprefix("res")) for name in cfg.MODEL.FPN.IN_FEATURES]
    weights = detector_names(source.weights, levels)
    stds, reason = choose_box_stds(source, box_stds)
    reg_weights = cfg.MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS
    scaled = rescale_box_regression(weights, stds, reg_weights)
    name = "roi_heads.box_predictor.bbox_pred.weight"
    done = "nothing to rescale" if scaled.get(name) is weights.get(name) else "box regression rescaled"
    stds = " ".join(f"{std:g}" for std in stds)
    return scaled, [f"box stds {stds} ({reason}), weights {tuple(reg_weights)} in the config: {done}"]


def _verify(source, model, keys, part):
    """-> lines. keys: as from encoder_keys."""
    swin = {key.removeprefix("MODEL.SWIN."): value for key, value in keys.items()}
    try:
        if part == "backbone":
            return [check_encoder(source, model["backbone"], swin)]
        return [check_encoder(source, model.backbone, swin), check_detector(model)]
    except InputError as error:
        raise InputError(f"{source.name}: {error}; nothing was written") from None


def _encoder(cfg):
    if cfg.MODEL.BACKBONE.NAME != "PromptedSwin":
        raise InputError(f"MODEL.BACKBONE.NAME is {cfg.MODEL.BACKBONE.NAME}; expected PromptedSwin")
    try:
        return nn.ModuleDict({"backbone": build_backbone(cfg)})
    except ValueError as error:
        raise InputError(f"the configuration does not describe an encoder: {error}") from None


def _check_complete(report, weights, part):
    """Raise InputError if a tensor is missing, has another shape or would be lost; -> lines on what starts fresh."""
    norms = [name for name in report.missing if _OUTPUT_NORM.match(name)] if part == "backbone" else []
    missing = [name for name in report.missing if name not in norms]
    report.missing = missing
    lost = [name for name in report.unexpected if _kept_by_source(name, part)]
    if missing or report.mismatched:
        raise InputError(f"{report.source} does not fill the configured {part} ({report.counts()}); "
                         f"{report.details()}; take the config that fits the file, or copy or download it again")
    if lost:
        raise InputError(f"{report.source} has layers that the configured {part} has not, and gives other results "
                         f"without them: {', '.join(lost[:8])}; take the config that fits the file")
    return [f"not in the source, left to start fresh: {', '.join(norms)}"] if norms else []


def _kept_by_source(name, part):
    """Is the tensor part of what computes the results that are converted?"""
    if name.startswith("backbone."):
        return not any(pattern.match(name) for pattern in (_CLASSIFIER, _OUTPUT_NORM, _PREDICTOR, _PYRAMID))
    return part == "model" and name.startswith(HEAD_PARTS)


def _skipped(source, report, part):
    """A line for each reason why tensors of the source are not in the output, with their names."""
    recomputed = [name for name in source.weights if name.endswith(RECOMPUTED)]
    groups = {"follow from the window size": recomputed}
    for name in report.unexpected:
        groups.setdefault(_reason(name, part), []).append(name)
    return [f"skipped {len(names)}, {reason}: {', '.join(names)}" for reason, names in groups.items() if names]


def _reason(name, part):
    if _CLASSIFIER.match(name):
        return "the classifier's own"
    if _OUTPUT_NORM.match(name):
        return "for outputs that MODEL.SWIN.OUT_FEATURES does not name"
    if _PREDICTOR.match(name):
        return "the deep variant's predictors"
    if _PYRAMID.match(name):
        return "the feature pyramid"
    if part == "backbone":
        return "not of the encoder (--part model converts a Faster R-CNN's neck and heads, too)"
    return "the configured model has no such part"
