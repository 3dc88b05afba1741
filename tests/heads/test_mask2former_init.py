"""What a fresh mask head starts from: the published initialisation, number by number."""

import math
import re

import pytest
import torch
from detectron2.layers import ShapeSpec

from stpn.heads.mask2former.decoder import QueryDecoder
from stpn.heads.mask2former.pixel_decoder import PixelDecoder

WIDTH = 128


@pytest.fixture(scope="module")
def pixels():
    torch.manual_seed(0)
    shapes = {f"res{i}": ShapeSpec(channels=24 * 2 ** (i - 2), stride=2**i) for i in (2, 3, 4, 5)}
    return dict(PixelDecoder(shapes, conv_dim=WIDTH, mask_dim=WIDTH, num_layers=2).named_parameters())


@pytest.fixture(scope="module")
def queries():
    torch.manual_seed(0)
    decoder = QueryDecoder(num_classes=40, width=WIDTH, mask_dim=WIDTH, num_queries=50, num_layers=2, hidden=256)
    return dict(decoder.named_parameters())


def assert_uniform(name, weight, bound):
    """Even on [-bound, bound]: both ends nearly reached, and the spread of such a distribution."""
    assert 0.97 * bound < weight.abs().max() <= bound, name
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.06), name
    assert abs(weight.mean().item()) < 0.06 * bound, name


def xavier(weight):
    outputs, inputs = weight.shape[:2]
    return math.sqrt(6 / (inputs + outputs))


def test_deformable_heads_look_in_eight_directions_one_to_four_cells_away(pixels):
    # By hand: angle 45 degrees times the head, x then y, the longer of the two is 1.
    directions = [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]
    for layer in range(2):
        name = f"transformer.encoder.layers.{layer}.self_attn"
        bias = pixels[f"{name}.sampling_offsets.bias"].view(8, 3, 4, 2)
        for head, (x, y) in enumerate(directions):
            for level in range(3):
                for point in range(4):
                    far = [x * (point + 1), y * (point + 1)]
                    assert bias[head, level, point].tolist() == pytest.approx(far, abs=1e-5)
        for zero in ("sampling_offsets.weight", "attention_weights.weight", "attention_weights.bias",
                     "value_proj.bias", "output_proj.bias"):
            assert not pixels[f"{name}.{zero}"].any(), zero
        for linear in ("value_proj", "output_proj"):
            assert_uniform(linear, pixels[f"{name}.{linear}.weight"], xavier(pixels[f"{name}.{linear}.weight"]))


def test_other_weights_of_the_pixel_decoder(pixels):
    for layer in range(2):
        for linear in ("linear1", "linear2"):
            weight = pixels[f"transformer.encoder.layers.{layer}.{linear}.weight"]
            assert_uniform(linear, weight, xavier(weight))
    for level in range(3):
        weight = pixels[f"input_proj.{level}.0.weight"]
        assert_uniform("input_proj", weight, xavier(weight))
        assert not pixels[f"input_proj.{level}.0.bias"].any()
    for name in ("adapter_1", "layer_1", "mask_features"):  # Caffe2's "xavier": by the inputs alone
        weight = pixels[f"{name}.weight"]
        assert_uniform(name, weight, math.sqrt(3 / weight[0].numel()))
    assert not pixels["mask_features.bias"].any()
    assert "adapter_1.bias" not in pixels and "layer_1.bias" not in pixels
    assert pixels["transformer.level_embed"].std().item() == pytest.approx(1, abs=0.15)


def test_weights_of_the_query_decoder(queries):
    for layer in range(2):
        for name in (f"transformer_cross_attention_layers.{layer}.multihead_attn",
                     f"transformer_self_attention_layers.{layer}.self_attn"):
            for part in ("in_proj_weight", "out_proj.weight"):
                assert_uniform(f"{name}.{part}", queries[f"{name}.{part}"], xavier(queries[f"{name}.{part}"]))
            assert not queries[f"{name}.in_proj_bias"].any() and not queries[f"{name}.out_proj.bias"].any()
        for linear in ("linear1", "linear2"):
            weight = queries[f"transformer_ffn_layers.{layer}.{linear}.weight"]
            assert_uniform(linear, weight, xavier(weight))
    for name in ("query_feat", "query_embed", "level_embed"):
        assert queries[f"{name}.weight"].std().item() == pytest.approx(1, abs=0.15), name
    for name in ("class_embed", *(f"mask_embed.layers.{i}" for i in range(3))):  # torch's own for linear layers
        assert_uniform(name, queries[f"{name}.weight"], 1 / math.sqrt(WIDTH))


def test_norms_start_as_the_identity(pixels, queries):
    found = [(name, p) for name, p in (*pixels.items(), *queries.items())
             if re.search(r"norm|input_proj\.\d\.1\.", name)]
    assert len(found) == 2 * (3 + 2 * 2 + 2 + 2 * 3 + 1)
    for name, parameter in found:
        assert (parameter == (1.0 if name.endswith("weight") else 0.0)).all(), name
