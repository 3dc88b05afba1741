"""Parameter groups: what decays, what learns at which rate, and that nothing is forgotten."""

import logging
import re
from pathlib import Path

import pytest
import torch
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling.backbone.swin import SwinTransformer
from tiny_vis import vis_model
from torch import nn

from stpn.engine.config_file import load_config
from stpn.engine.model import build_model
from stpn.engine.optimizer import build_optimizer
from stpn.errors import InputError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = SwinTransformer(embed_dim=4, depths=(1,) * 4, num_heads=(1,) * 4, ape=True)
        self.prompt_predictor = nn.MultiheadAttention(8, 2)
        self.prompt_predictor.query = nn.Parameter(torch.zeros(5, 8))
        self.roi_heads = nn.Sequential(nn.Linear(4, 4), nn.GroupNorm(2, 4), nn.Linear(4, 4))
        self.roi_heads[2].weight = self.roi_heads[0].weight  # shared
        self.roi_heads[0].bias.requires_grad_(False)


def settings(model, *pairs):
    """{parameter name: (learning rate, weight decay)} as built from overrides."""
    cfg = load_config(None, ["SOLVER.BASE_LR", "0.1", "SOLVER.WEIGHT_DECAY", "0.05", *pairs])
    groups = build_optimizer(cfg, model).param_groups
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize(
    "pairs", [(), ("SOLVER.BACKBONE_MULTIPLIER", "0.1", "SOLVER.WEIGHT_DECAY_BIAS", "0.0")]
)
def test_every_trainable_parameter_is_in_exactly_one_group(pairs):
    model = Model()
    optimizer = build_optimizer(load_config(None, pairs), model)
    grouped = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert len(grouped) == len(set(grouped)) == len(trainable) and set(grouped) == set(trainable)


def test_weight_decay_follows_the_authors_rule_by_default():
    decay = {name: value for name, (_, value) in settings(Model()).items()}
    for name, value in decay.items():
        exempt = "norm" in name or "relative_position_bias_table" in name or "absolute_pos_embed" in name
        exempt = exempt or name.startswith("roi_heads.1.")  # a GroupNorm whose name does not say so
        assert value == (0.0 if exempt else 0.05), name
    assert (
        decay["prompt_predictor.query"] == 0.05 and decay["backbone.layers.0.blocks.0.attn.qkv.bias"] == 0.05
    )
    assert decay["backbone.norm0.weight"] == decay["backbone.absolute_pos_embed"] == 0.0


def test_biases_and_norms_have_their_own_decay_when_asked():
    decay = {
        name: value
        for name, (_, value) in settings(
            Model(), "SOLVER.WEIGHT_DECAY_BIAS", "0.01", "SOLVER.WEIGHT_DECAY_NORM", "0.02"
        ).items()
    }
    assert decay["prompt_predictor.in_proj_bias"] == decay["roi_heads.2.bias"] == 0.01
    assert decay["backbone.norm0.bias"] == decay["roi_heads.1.weight"] == 0.02
    assert decay["roi_heads.0.weight"] == 0.05
    assert decay["backbone.layers.0.blocks.0.attn.relative_position_bias_table"] == 0.0


def test_multipliers_act_on_their_parts():
    pairs = (
        "SOLVER.BACKBONE_MULTIPLIER",
        "0.1",
        "SOLVER.PREDICTOR_MULTIPLIER",
        "10",
        "SOLVER.BIAS_LR_FACTOR",
        "2",
    )
    for name, (rate, _) in settings(Model(), *pairs).items():
        expected = {"backbone": 0.01, "prompt_predictor": 1.0, "roi_heads": 0.1}[name.split(".")[0]]
        assert rate == pytest.approx(expected * (2 if name.endswith("bias") else 1)), name


def test_optimizer_names():
    assert type(build_optimizer(load_config(), Model())) is torch.optim.AdamW
    sgd = build_optimizer(load_config(None, ["SOLVER.OPTIMIZER", "sgd", "SOLVER.MOMENTUM", "0.8"]), Model())
    assert type(sgd) is torch.optim.SGD and sgd.param_groups[0]["momentum"] == 0.8
    with pytest.raises(InputError, match="ADAMW, SGD"):
        build_optimizer(load_config(None, ["SOLVER.OPTIMIZER", "LAMB"]), Model())


@pytest.mark.parametrize("kind", ["off", "value", "norm", "full_model"])
def test_gradients_are_clipped_as_the_config_says(kind):
    """One step of plain SGD at rate 1: the step is the clipped gradient."""
    model = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)})
    pairs = [
        "SOLVER.OPTIMIZER",
        "SGD",
        "SOLVER.BASE_LR",
        1.0,
        "SOLVER.MOMENTUM",
        0.0,
        "SOLVER.WEIGHT_DECAY",
        0.0,
    ]
    if kind != "off":
        pairs += ["SOLVER.CLIP_GRADIENTS.ENABLED", True, "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", kind]
    optimizer = build_optimizer(load_config(None, [*pairs, "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 1.0]), model)
    gradients = [3.0, 4.0, 0.0, 0.5]
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.grad = torch.full_like(parameter, gradient)
    optimizer.step()
    steps = [(old - new).item() for old, new in zip(before, model.parameters(), strict=True)]
    whole = sum(value**2 for value in gradients) ** 0.5
    expected = {
        "off": gradients,
        "value": [1, 1, 0, 0.5],
        "norm": [1, 1, 0, 0.5],  # each parameter alone
        "full_model": [value / whole for value in gradients],
    }[kind]
    assert steps == pytest.approx(expected, abs=1e-5)


def test_unknown_clip_type_is_named():
    pairs = ["SOLVER.CLIP_GRADIENTS.ENABLED", "True", "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "all"]
    with pytest.raises(InputError, match="value, norm, full_model"):
        build_optimizer(load_config(None, pairs), Model())


def test_groups_are_logged(caplog):
    with caplog.at_level(logging.INFO, logger="stpn"):
        build_optimizer(load_config(), Model())
    assert "weight decay 0.05" in caplog.text


def test_tables_of_a_mask_decoder_do_not_decay_and_the_pixel_decoders_level_table_does():
    model = vis_model()
    cfg = load_config(CONFIGS / "stpn_ytvis19_swint.yaml", ["SOLVER.WEIGHT_DECAY_EMBED", 0.01])
    groups = build_optimizer(cfg, model).param_groups
    found = {id(parameter): (group["lr"], group["weight_decay"]) for group in groups for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        table = name.endswith(("query_feat.weight", "query_embed.weight", "predictor.level_embed.weight", "bias_table"))
        normal = "norm" in name or re.search(r"pixel_decoder\.input_proj\.\d\.1\.", name)  # after each convolution
        rate = 1e-5 if name.startswith("backbone.") else 1e-4
        assert found[id(parameter)] == (pytest.approx(rate), 0.01 if table else 0.0 if normal else 0.05), name
    assert found[id(model.sem_seg_head.pixel_decoder.transformer.level_embed)][1] == 0.05


@pytest.mark.parametrize("name", ["stpn_vid_swint_mixer", "stpn_selsa_vid_swint"])
def test_detectors_have_no_tables_but_position_tables(name):
    """Their decay groups do not depend on the rule for nn.Embedding."""
    with torch.device("meta"):
        model = build_model(load_config(CONFIGS / f"{name}.yaml", ["MODEL.DEVICE", "meta"]))
    assert not any(isinstance(module, nn.Embedding) for module in model.modules())


def tracker_groups(name, *overrides):
    """A tracker of configs/ without memory -> (model, {parameter name: (learning rate, weight decay)})."""
    cfg = load_config(CONFIGS / f"{name}.yaml", ["MODEL.DEVICE", "meta", *overrides])
    with torch.device("meta"):
        model = build_model(cfg)
    groups = build_optimizer(cfg, model).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    listed = [names[id(parameter)] for group in groups for parameter in group["params"]]
    assert len(listed) == len(set(listed))  # each in one group
    return model, {names[id(parameter)]: (group["lr"], group["weight_decay"])
                   for group in groups for parameter in group["params"]}


@pytest.mark.parametrize("name, backbone", [("stpn_got10k_cvt21", 1e-5), ("stpn_got10k_cvt21_1k", 1e-4),
                                            ("baseline_got10k_cvt21", 1e-5), ("stpn_got10k_cvtw24", 1e-5)])
def test_trackers_learn_at_the_full_rate_but_for_the_encoder_and_everything_decays(name, backbone):
    """MixFormer lowers the rate of all names with "backbone" in them: the predictor must not be one."""
    model, found = tracker_groups(name)
    frozen = {key for key in dict(model.named_parameters()) if key.startswith("backbone.stage0.") and "w24" in name}
    assert set(found) == set(dict(model.named_parameters())) - frozen
    assert {key.split(".")[0] for key in found} == {"backbone", "box_head"} | (
        {"prompt_predictor"} if name.startswith("stpn") else set())
    for key, (rate, decay) in found.items():
        assert (rate, decay) == (pytest.approx(backbone if key.startswith("backbone.") else 1e-4), 1e-4), key


@pytest.mark.parametrize("arm", ["stpn", "baseline"])
def test_the_second_stage_of_a_tracker_trains_the_score_head_alone(arm):
    model, found = tracker_groups(f"{arm}_got10k_cvt21_score")
    wanted = {key for key in dict(model.named_parameters()) if key.startswith("score_branch.")}
    assert set(found) == wanted and set(found.values()) == {(1e-4, 1e-4)}
    assert any(isinstance(part, FrozenBatchNorm2d) for part in model.box_head.modules())
    assert not any(isinstance(part, nn.BatchNorm2d) for part in model.modules())
