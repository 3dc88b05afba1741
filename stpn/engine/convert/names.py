"""Whole detectors of mmdetection's kind (Faster R-CNN, FPN, SELSA, prompts) -> our names, order and scale.

Only convert_weights.py translates necks and heads: a training that starts from such a file takes its encoder alone,
as the paper's recipe does.

What needs no change, by both definitions: classes in order with the background last; four numbers a class, dx dy dw
dh; one objectness an anchor; anchors by aspect ratio at each place, centred on multiples of the stride; rows of the
first fully connected layer by channel, then place.
"""

import re

from ...errors import InputError
from ..weight_names import to_model_names

_AGGREGATOR = {"fc_embed": "query", "ref_fc_embed": "key", "ref_fc": "value", "fc": "out"}
_RPN = {"rpn_conv": "conv", "rpn_cls": "objectness_logits", "rpn_reg": "anchor_deltas"}
_PREDICTOR = {"fc_cls": "cls_score", "fc_reg": "bbox_pred"}
_HEADS = (
    (r"neck\.(lateral|fpn)_convs\.(\d+)\.conv\.", lambda m, levels: _pyramid(m, levels)),
    (r"rpn_head\.(rpn_conv|rpn_cls|rpn_reg)\.", lambda m, _: f"proposal_generator.rpn_head.{_RPN[m[1]]}."),
    (r"roi_head\.bbox_head\.shared_fcs\.(\d+)\.", lambda m, _: f"roi_heads.box_head.fc{int(m[1]) + 1}."),
    (r"roi_head\.bbox_head\.aggregator\.(\d+)\.(fc_embed|ref_fc_embed|ref_fc|fc)\.",
     lambda m, _: f"roi_heads.box_head.aggregators.{m[1]}.{_AGGREGATOR[m[2]]}."),
    (r"roi_head\.bbox_head\.(fc_cls|fc_reg)\.", lambda m, _: f"roi_heads.box_predictor.{_PREDICTOR[m[1]]}."),
)
# mmdetection's names of the parts above: what else they hold cannot be left out without changing the results.
HEAD_PARTS = ("neck.", "rpn_head.", "roi_head.bbox_head.", "prompt_predictor.")
RELEASED_STDS = {"stpn": (0.2, 0.2, 0.2, 0.2)}
MMDET_STDS = (0.1, 0.1, 0.2, 0.2)


def encoder_names(weights):
    """Names of any kind -> {"backbone.layers...": tensor}, wrappers removed; other parts keep their own names."""
    return to_model_names(weights, ("backbone.patch_embed.proj.weight",))


def detector_names(weights, levels):
    """As encoder_names, and necks and heads as ours. levels: numbers of the pyramid's inputs: 2, 3, 4, 5."""
    translated = {}
    for name, value in encoder_names(weights).items():
        for pattern, rename in _HEADS:
            if match := re.match(pattern, name):
                name = (rename(match, levels) or match[0]) + name[match.end():]
                break
        translated[name] = value
    return translated


def _pyramid(match, levels):
    """None where the source has more levels than the config: it stays in its own names, and is refused."""
    kind = {"lateral": "lateral", "fpn": "output"}[match[1]]
    return f"neck.fpn_{kind}{levels[int(match[2])]}." if int(match[2]) < len(levels) else None


def refuse_unknown_heads(names):
    """Raise InputError for detectors whose parts have no counterpart here. names: as from encoder_names."""
    if any(name.startswith("neck.fpn_lateral") for name in names):
        raise InputError("its neck and heads have our names already; give it as MODEL.WEIGHTS")
    if not any(name.startswith("roi_head.bbox_head.") for name in names):
        raise InputError("there is no Faster R-CNN of mmdetection's kind in it; take --part backbone")
    if any(name.startswith("roi_head.bbox_head.0.") for name in names):
        raise InputError("it is a cascade of several box heads, of which there is one here; take --part backbone")
    if any(re.match(r"backbone\.layers\.\d+\.predictor\.", name) for name in names):
        raise InputError("it is the authors' deep variant (a predictor inside each stage), which their code cannot "
                         "build; take --part backbone")


def choose_box_stds(source, given=None):
    """-> (four standard deviations that the source's box regression is measured in, where that is from).

    given: of the command line. Else what the configuration stored in the file says, if it says one thing; else the
    usual ones of the kind.
    """
    if given is not None:
        if any(std <= 0 for std in given):
            raise InputError(f"--box-stds {' '.join(map(str, given))}; expected four numbers above 0")
        return tuple(given), "given"
    stored = re.findall(r"target_stds\s*=\s*[\[(]([^\])]*)[\])]", source.config_text)
    stored = {tuple(map(float, re.findall(r"[\d.]+(?:e-?\d+)?", text))) for text in stored} - {(1.0,) * 4}
    if len(stored) == 1 and len(min(stored)) == 4:
        return stored.pop(), "the configuration stored in the file"
    return RELEASED_STDS.get(source.kind, MMDET_STDS), f"usual for {source.kind}; --box-stds sets others"


def rescale_box_regression(weights, stds, reg_weights):
    """Box regression in units of stds -> in units of 1 / MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS. Returns new weights.

    Rows repeat dx, dy, dw, dh. A box is moved by output * stds there, by output / weights here.
    """
    factors = [std * weight for std, weight in zip(stds, reg_weights)]
    if all(abs(factor - 1) < 1e-6 for factor in factors):
        return dict(weights)
    scaled = dict(weights)
    for name in ("roi_heads.box_predictor.bbox_pred.weight", "roi_heads.box_predictor.bbox_pred.bias"):
        if name in weights and len(weights[name]) % 4 == 0:
            value = weights[name]
            rows = value.new_tensor(factors).repeat(len(value) // 4)
            scaled[name] = value * rows.view(-1, *[1] * (value.dim() - 1))
    return scaled
