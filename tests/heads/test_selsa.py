"""SELSA's head against the published modules' recorded outputs and against the formulas written out."""

import math

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import FastRCNNConvFCHead

from stpn.heads import SelsaBoxHead, join_support
from stpn.heads.selsa import Aggregator

NAMES = {"fc_embed": "query", "ref_fc_embed": "key", "ref_fc": "value", "fc": "out"}


def recorded(folder, name):
    path = folder / "vod" / "selsa" / name
    return torch.load(path, weights_only=False)


def ours(state):
    """The published names of one aggregator -> ours."""
    return {f"{NAMES[name.split('.')[0]]}.{name.split('.')[1]}": value for name, value in state.items()}


def head(num_heads=4, fc_dims=(24, 24), channels=3, size=2):
    torch.manual_seed(0)
    return SelsaBoxHead(ShapeSpec(channels=channels, height=size, width=size), num_heads=num_heads,
                        conv_dims=[], fc_dims=list(fc_dims))


def pooled(count, seed, channels=3, size=2):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def test_aggregator_and_its_gradients_are_the_published_ones(fixtures_dir):
    case = recorded(fixtures_dir, "agg_c64_g4_n3_m7.pt")
    module = Aggregator(case["in_channels"], case["num_attention_blocks"])
    module.load_state_dict(ours(case["state_dict"]))
    x, support = case["x"].clone().requires_grad_(), case["ref_x"].clone().requires_grad_()
    out = module(x, module.project(support))
    torch.testing.assert_close(out, case["out"], atol=1e-4, rtol=0)
    (out * case["loss_weight"]).sum().backward()
    torch.testing.assert_close(x.grad, case["grad_x"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(support.grad, case["grad_ref_x"], atol=1e-4, rtol=1e-4)
    for name, grad in ours(case["grad_params"]).items():
        torch.testing.assert_close(module.get_parameter(name).grad, grad, atol=1e-4, rtol=1e-4)


def test_box_head_gives_the_published_scores_and_boxes(fixtures_dir):
    case = recorded(fixtures_dir, "head_c8_r7_fc64_g4.pt")
    state, config = case["state_dict"], case["cfg"]
    box_head = head(config["num_attention_blocks"], [config["fc_out_channels"]] * config["num_shared_fcs"],
                    config["in_channels"], config["roi_feat_size"])
    for i, fc in enumerate(box_head.fcs):
        fc.load_state_dict({key: state[f"shared_fcs.{i}.{key}"] for key in ("weight", "bias")})
        prefix = f"aggregator.{i}."
        box_head.aggregators[i].load_state_dict(
            ours({name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}))
    with torch.no_grad():
        x = box_head(case["x"], box_head.support(case["ref_x"]))
        scores = torch.nn.functional.linear(x, state["fc_cls.weight"], state["fc_cls.bias"])
        deltas = torch.nn.functional.linear(x, state["fc_reg.weight"], state["fc_reg.bias"])
    torch.testing.assert_close(scores, case["cls_score"], atol=1e-4, rtol=0)
    torch.testing.assert_close(deltas, case["bbox_pred"], atol=1e-4, rtol=0)


def plainly(box_head, x, r):
    """The equations, one proposal and one head at a time."""
    x, r = x.flatten(1), r.flatten(1)
    for fc, agg in zip(box_head.fcs, box_head.aggregators):
        x, r = fc(x), fc(r)
        query, key, value = agg.query(x), agg.key(r), agg.value(r)
        width = x.shape[1] // agg.num_heads
        rows = []
        for n in range(len(x)):
            parts = []
            for g in range(agg.num_heads):
                own = slice(g * width, (g + 1) * width)
                logits = [query[n, own] @ key[m, own] / math.sqrt(width) for m in range(len(r))]
                parts.append(sum(w * v for w, v in zip(torch.stack(logits).softmax(0), value[:, own])))
            rows.append(torch.cat(parts))
        x, r = torch.relu(x + agg.out(torch.stack(rows))), torch.relu(r)
    return x


@torch.no_grad()
def test_box_head_is_the_equations():
    box_head, x, r = head(), pooled(3, 1), pooled(5, 2)
    torch.testing.assert_close(box_head(x, box_head.support(r)), plainly(box_head, x, r), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_cached_support_of_single_frames_equals_that_of_all_at_once():
    box_head, x, frames = head(), pooled(3, 1), [pooled(count, 10 + count) for count in (4, 1, 6)]
    joined = join_support([box_head.support(frame) for frame in frames])
    torch.testing.assert_close(box_head(x, joined), box_head(x, box_head.support(torch.cat(frames))))


@torch.no_grad()
def test_own_proposals_as_support_equal_support_that_holds_them():
    box_head, x, r = head(), pooled(3, 1), pooled(5, 2)
    found = box_head(x, box_head.support(r), with_self=True)
    torch.testing.assert_close(found, box_head(x, box_head.support(torch.cat([r, x]))), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_order_of_support_does_not_matter():
    box_head, x, r = head(), pooled(3, 1), pooled(5, 2)
    torch.testing.assert_close(box_head(x, box_head.support(r)), box_head(x, box_head.support(r.flip(0))))


@torch.no_grad()
def test_nothing_to_aggregate_leaves_the_plain_box_head():
    box_head, x = head(), pooled(3, 1)
    plain = FastRCNNConvFCHead(ShapeSpec(channels=3, height=2, width=2), conv_dims=[], fc_dims=[24, 24])
    plain.load_state_dict(box_head.state_dict(), strict=False)
    torch.testing.assert_close(box_head(x, box_head.support(x[:0])), plain(x))


@torch.no_grad()
def test_frame_without_proposals_has_no_rows():
    box_head = head()
    assert box_head(pooled(0, 1), box_head.support(pooled(4, 2)), with_self=True).shape == (0, 24)


def test_first_layers_weights_of_a_plain_detector_fit():
    plain = FastRCNNConvFCHead(ShapeSpec(channels=3, height=2, width=2), conv_dims=[], fc_dims=[24, 24])
    missing, unexpected = head().load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and all(name.startswith("aggregators.") for name in missing)


def test_two_aggregators_of_1024_have_the_published_number_of_parameters():
    assert 2 * sum(p.numel() for p in Aggregator(1024, 16).parameters()) == 8_396_800


def test_width_that_does_not_divide_into_heads_is_refused():
    with pytest.raises(ValueError, match="24 does not divide into 5 heads; set MODEL.SELSA.NUM_HEADS"):
        head(num_heads=5)
