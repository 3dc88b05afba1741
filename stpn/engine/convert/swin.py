"""Swin transformers and the detectors on them, for convert.py: names, what may be left out, the forward."""

import re

from ...errors import InputError
from . import config
from .check import check_detector, check_encoder
from .names import (
    HEAD_PARTS,
    choose_box_stds,
    detector_names,
    encoder_names,
    refuse_unknown_heads,
    rescale_box_regression,
)

BACKBONE = "PromptedSwin"
_OUTPUT_NORM = re.compile(r"backbone\.norm\d+\.")
_LEFT_OUT = (
    (re.compile(r"backbone\.(norm|head|avgpool)\."), "the classifier's own"),
    (_OUTPUT_NORM, "for outputs that MODEL.SWIN.OUT_FEATURES does not name"),
    (re.compile(r"backbone\.layers\.\d+\.predictor\."), "the deep variant's predictors"),
    (re.compile(r"backbone\.fpn_(lateral|output)\d\."), "the feature pyramid"),  # detectron2 counts it to the backbone
)


def default_part(kind):
    return "model" if kind == "stpn" else "backbone"


def translate(source, cfg, part, box_stds):
    """-> ({our name: tensor}, lines to report)."""
    if part == "backbone":
        if box_stds is not None:
            raise InputError("--box-stds is about box heads; it needs --part model")
        return encoder_names(source.weights), []
    refuse_unknown_heads(encoder_names(source.weights))
    config.check_anchors(cfg)
    levels = [int(name.removeprefix("res")) for name in cfg.MODEL.FPN.IN_FEATURES]
    weights = detector_names(source.weights, levels)
    stds, reason = choose_box_stds(source, box_stds)
    reg_weights = cfg.MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS
    scaled = rescale_box_regression(weights, stds, reg_weights)
    name = "roi_heads.box_predictor.bbox_pred.weight"
    done = "nothing to rescale" if scaled.get(name) is weights.get(name) else "box regression rescaled"
    stds = " ".join(f"{std:g}" for std in stds)
    return scaled, [f"box stds {stds} ({reason}), weights {tuple(reg_weights)} in the config: {done}"]


def config_keys(weights, cfg, part):
    """-> {config key: value} that the weights show."""
    return config.encoder_keys(weights, cfg) | (config.detector_keys(weights, cfg) if part == "model" else {})


def starts_fresh(name, part):
    """May a tensor of the model be absent from the source?"""
    return part == "backbone" and bool(_OUTPUT_NORM.match(name))


def reason_left_out(name, part, cfg):
    """Why a tensor of the source that the model has not may be left out; None if results depend on it."""
    reason = next((text for pattern, text in _LEFT_OUT if pattern.match(name)), None)
    if reason or name.startswith("backbone.") or part == "model" and name.startswith(HEAD_PARTS):
        return reason
    if part == "backbone":
        return "not of the encoder (--part model converts a Faster R-CNN's neck and heads, too)"
    return "the configured model has no such part"


def verify(source, model, weights, cfg, part):
    """-> lines. Raises InputError if the forward does not give what the source's own module gives."""
    keys = config.encoder_keys(weights, cfg)
    swin = {key.removeprefix("MODEL.SWIN."): value for key, value in keys.items()}
    if part == "backbone":
        return [check_encoder(source, model["backbone"], swin)]
    return [check_encoder(source, model.backbone, swin), check_detector(model)]


def notes(source, weights, cfg, part):
    return config.notes(cfg, source) if part == "model" else []
