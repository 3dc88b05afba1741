"""build_optimizer: AdamW or SGD with the paper's weight-decay groups and detectron2's gradient clipping."""

import logging
from collections import defaultdict

import torch
from detectron2.solver.build import maybe_add_gradient_clipping
from torch import nn

from ..errors import InputError

logger = logging.getLogger(__name__)

_NORMS = (
    nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
)  # fmt: skip
# Tables that stand for positions: decay would pull them towards "everywhere is the same".
_POSITIONS = ("relative_position_bias_table", "absolute_pos_embed")


def build_optimizer(cfg, model):
    """The optimizer that SOLVER describes, over the trainable parameters of model, each in one group.

    A group is one (learning rate, weight decay). Rates: BASE_LR times BACKBONE_MULTIPLIER for backbone.*,
    PREDICTOR_MULTIPLIER for prompt_predictor.*, BIAS_LR_FACTOR for biases. Decay: see _weight_decay.
    """
    groups = parameter_groups(cfg, model)
    solver = cfg.SOLVER
    name = solver.OPTIMIZER.upper()
    if name == "ADAMW":
        optimizer = torch.optim.AdamW(groups, lr=solver.BASE_LR, weight_decay=solver.WEIGHT_DECAY)
    elif name == "SGD":
        optimizer = torch.optim.SGD(
            groups, lr=solver.BASE_LR, momentum=solver.MOMENTUM, nesterov=solver.NESTEROV,
            weight_decay=solver.WEIGHT_DECAY,
        )  # fmt: skip
    else:
        raise InputError(f"SOLVER.OPTIMIZER is {solver.OPTIMIZER!r}; known: ADAMW, SGD")
    return _add_clipping(cfg, optimizer)


def parameter_groups(cfg, model):
    """-> [{"params": [...], "lr": float, "weight_decay": float}, ...], shared parameters once."""
    groups, seen = defaultdict(list), set()
    for module_name, module in model.named_modules():
        for own_name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            name = f"{module_name}.{own_name}" if module_name else own_name
            decay = _weight_decay(cfg, name, module)
            groups[_learning_rate(cfg, name), decay].append(parameter)
    for (rate, decay), parameters in groups.items():
        count = sum(parameter.numel() for parameter in parameters)
        logger.info("optimizer: %d numbers with learning rate %g, weight decay %g", count, rate, decay)
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]


def _weight_decay(cfg, name, module):
    """Norms: WEIGHT_DECAY_NORM (by name as in the authors' code, and by type, for norms with other names);
    position tables and the tables of nn.Embedding (queries, feature levels of a mask decoder): WEIGHT_DECAY_EMBED;
    biases: WEIGHT_DECAY_BIAS, None means as weights; all others, prompt queries and the pixel decoder's
    level_embed, which are plain parameters, included: WEIGHT_DECAY."""
    solver = cfg.SOLVER
    if isinstance(module, _NORMS) or "norm" in name:
        return solver.WEIGHT_DECAY_NORM
    if isinstance(module, nn.Embedding) or name.endswith(_POSITIONS):
        return solver.WEIGHT_DECAY_EMBED
    if _is_bias(name) and solver.WEIGHT_DECAY_BIAS is not None:
        return solver.WEIGHT_DECAY_BIAS
    return solver.WEIGHT_DECAY


def _learning_rate(cfg, name):
    solver = cfg.SOLVER
    parts = {"backbone": solver.BACKBONE_MULTIPLIER, "prompt_predictor": solver.PREDICTOR_MULTIPLIER}
    rate = solver.BASE_LR * parts.get(name.split(".")[0], 1.0)
    return rate * solver.BIAS_LR_FACTOR if _is_bias(name) else rate


def _is_bias(name):
    return name.split(".")[-1].endswith("bias")  # also in_proj_bias of attention


def _add_clipping(cfg, optimizer):
    """SOLVER.CLIP_GRADIENTS: detectron2's "value" and "norm" act on each parameter alone; "full_model" limits
    the norm of all gradients together, as the schedules of transformers mean it."""
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if not clip.ENABLED or clip.CLIP_TYPE in ("value", "norm"):
        return maybe_add_gradient_clipping(cfg, optimizer)
    if clip.CLIP_TYPE != "full_model":
        known = "value, norm, full_model"
        raise InputError(f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE is {clip.CLIP_TYPE!r}; known: {known}")

    def limit(optimizer, args, kwargs):
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(parameters, clip.CLIP_VALUE, clip.NORM_TYPE)

    optimizer.register_step_pre_hook(limit)
    return optimizer
