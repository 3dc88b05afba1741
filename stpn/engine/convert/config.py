"""What weights say about the configuration they were made with, and what only the configuration says."""

import math
import re

from ...errors import InputError
from ..class_names import class_names
from ..config_file import flatten_config

_SELSA = {"MODEL.META_ARCHITECTURE": "SelsaDetector", "MODEL.ROI_HEADS.NAME": "SelsaROIHeads",
          "MODEL.ROI_BOX_HEAD.NAME": "SelsaBoxHead"}
_NO_SELSA = {"MODEL.META_ARCHITECTURE": "VideoObjectDetector", "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
             "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead"}
# What mmdetection's Faster R-CNN does unless told otherwise, and no weight shows.
_USUAL = {"MODEL.RPN.BBOX_REG_WEIGHTS": [1.0] * 4, "MODEL.ANCHOR_GENERATOR.OFFSET": 0.0,
          "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlignV2", "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 0}


def check_config(wanted, cfg, where):
    """Raise InputError that names every key of cfg that the weights contradict, as overrides to add.

    wanted: {config key: value} that the weights show.
    """
    now = flatten_config(cfg)
    wrong = {key: value for key, value in wanted.items() if now[key] != value}
    if wrong:
        differences = ", ".join(f"{key} {now[key]!r} for {value!r}" for key, value in wrong.items())
        overrides = " ".join(f"{key} {_typed(value)}" for key, value in wrong.items())
        raise InputError(f"{where} was made with another configuration than this one ({differences}); "
                         f"take the config file for it, or add: {overrides}")


def encoder_keys(weights, cfg):
    """The Swin in weights ({"backbone.layers...": tensor}) -> {config key: value}; {} if it is not all there."""
    blocks = {tuple(map(int, match.groups())) for match in
              (re.match(r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.", name) for name in weights) if match}
    depths = [1 + max(j for i, j in blocks if i == stage) for stage in sorted({i for i, _ in blocks})]
    if len(depths) != len(cfg.MODEL.SWIN.DEPTHS):
        return {}  # half a file: the names that are missing say more
    first = [f"backbone.layers.{stage}.blocks.0." for stage in range(len(depths))]
    tables = [weights.get(name + "attn.relative_position_bias_table") for name in first]
    embed, hidden = weights.get("backbone.patch_embed.proj.weight"), weights.get(first[0] + "mlp.fc1.weight")
    if any(value is None for value in (embed, hidden, *tables)):
        return {}
    return {"MODEL.SWIN.EMBED_DIM": len(embed), "MODEL.SWIN.DEPTHS": depths,
            "MODEL.SWIN.NUM_HEADS": [table.shape[1] for table in tables],
            "MODEL.SWIN.WINDOW_SIZE": (math.isqrt(len(tables[0])) + 1) // 2,
            "MODEL.SWIN.MLP_RATIO": len(hidden) / hidden.shape[1]}


def detector_keys(weights, cfg):
    """Neck, heads and prompt predictor in weights (our names) -> {config key: value}, as far as shapes show it."""
    keys = {}
    classes, boxes = (weights.get(f"roi_heads.box_predictor.{name}.bias") for name in ("cls_score", "bbox_pred"))
    if classes is not None:
        keys["MODEL.ROI_HEADS.NUM_CLASSES"] = len(classes) - 1
    if classes is not None and boxes is not None and len(classes) != 2:  # of one class, both look the same
        keys["MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG"] = len(boxes) == 4
    layers = [weights[name] for name in sorted(weights) if re.fullmatch(r"roi_heads\.box_head\.fc\d+\.bias", name)]
    if layers:
        keys |= {"MODEL.ROI_BOX_HEAD.NUM_FC": len(layers), "MODEL.ROI_BOX_HEAD.FC_DIM": len(layers[0])}
    pyramid = [value for name, value in weights.items() if re.fullmatch(r"neck\.fpn_lateral\d\.bias", name)]
    if pyramid:
        keys["MODEL.FPN.OUT_CHANNELS"] = len(pyramid[0])
    return keys | _selsa_keys(weights, cfg) | _prompt_keys(weights)


def _selsa_keys(weights, cfg):
    aggregates = any(name.startswith("roi_heads.box_head.aggregators.") for name in weights)
    if aggregates and cfg.INPUT.SELSA.TRAIN_FRAMES < 1:
        return {**_SELSA, "INPUT.SELSA.TRAIN_FRAMES": 2}
    if aggregates or cfg.MODEL.META_ARCHITECTURE == "SelsaDetector":
        return _SELSA if aggregates else _NO_SELSA
    return {}


def _prompt_keys(weights):
    if not any(name.startswith("prompt_predictor.") for name in weights):
        return {"MODEL.STPN.ENABLED": False}
    keys = {"MODEL.STPN.ENABLED": True, "MODEL.STPN.DEEP": False, "MODEL.SWIN.PROMPT_MERGE": "released"}
    query = weights.get("prompt_predictor.query")
    if query is None:  # how many tokens it picks is not in its weights
        return {**keys, "MODEL.STPN.PREDICTOR.NAME": "ReleasedTopKPredictor"}
    return {**keys, "MODEL.STPN.PREDICTOR.NAME": "ReleasedAttentionPredictor", "MODEL.STPN.NUM_PROMPTS": len(query)}


def _typed(value):
    text = repr(value)
    return f'"{text}"' if any(sign in text for sign in "[(' ") and not isinstance(value, str) else str(value)


def check_anchors(cfg):
    """Raise InputError where the order of a place's anchors is another than mmdetection's: several sizes and several
    ratios at one level (they count ratio by ratio, detectron2 size by size)."""
    anchors = cfg.MODEL.ANCHOR_GENERATOR
    if any(len(sizes) > 1 for sizes in anchors.SIZES) and any(len(ratios) > 1 for ratios in anchors.ASPECT_RATIOS):
        raise InputError(f"MODEL.ANCHOR_GENERATOR.SIZES are {anchors.SIZES}; with several sizes a level the anchors "
                         "are in another order than mmdetection's; expected one size a level")


def notes(cfg, source):
    """Lines on what the weights cannot show: taken from cfg, and where cfg is unusual for such a file."""
    now = flatten_config(cfg)
    anchors = cfg.MODEL.ANCHOR_GENERATOR
    lines = [f"taken from the config, as no weight shows it: anchors {anchors.SIZES} with ratios "
             f"{anchors.ASPECT_RATIOS}, test policy {cfg.INPUT.SUPPORT.TEST_POLICY}, PIXEL_MEAN and PIXEL_STD, NMS and "
             "score thresholds; images are padded to multiples of 32 (there of 16, usually)"]
    lines += [f"not mmdetection's default: {key} {now[key]!r} ({usual!r})" for key, usual in _USUAL.items()
              if now[key] != usual]
    if source.kind == "stpn" and cfg.INPUT.SUPPORT.TEST_POLICY != "spread":
        lines.append("the authors test with 14 frames spread over the whole video: INPUT.SUPPORT.TEST_POLICY spread")
    return lines + _class_notes(cfg, source)


def _class_notes(cfg, source):
    if not source.classes:
        return ["the file names no classes: their order is taken to be that of the config's data sets"]
    ours = class_names(cfg)
    if ours[0] == "class 0":
        return [f"the file's classes, in order: {', '.join(source.classes)}; no data set of the config has as many"]
    different = [i for i, (a, b) in enumerate(zip(source.classes, ours)) if a != b]
    if not different:
        return []
    i = different[0]
    return [f"class names differ in {len(different)} of {len(ours)} places: class {i} is {source.classes[i]!r} in the "
            f"file and {ours[i]!r} in the config's data sets; if that is not another spelling, results are mislabelled"]
