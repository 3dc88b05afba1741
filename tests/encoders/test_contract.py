"""What every encoder must offer, for each of them. A new encoder adds a line to ENCODERS."""

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_backbone

from stpn import add_stpn_config
from stpn.encoders import PromptableBackbone, PromptedCvT, PromptedSwin
from stpn.prompting import embed_support

ENCODERS = {
    "swin": lambda: PromptedSwin(embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), drop_path_rate=0.3),
    "cvt": lambda: PromptedCvT(widths=(16, 32, 64), depths=(1, 2, 3), num_heads=(1, 2, 4), drop_path_rates=(0, 0, 0.3)),
}
each = pytest.mark.parametrize("name", ENCODERS)
both_kinds = pytest.mark.parametrize("deep", [False, True])


def encoder(name):
    torch.manual_seed(0)
    return ENCODERS[name]().eval()


def prompts_for(model, batch, deep, count=5):
    generator = torch.Generator().manual_seed(1)
    widths = model.prompt_widths if deep else model.prompt_widths[:1]
    return [torch.randn(batch, count, width, generator=generator) for width in widths]


@each
def test_shapes_are_those_of_output_shape(name):
    model = encoder(name)
    assert isinstance(model, PromptableBackbone)
    with torch.no_grad():
        for H, W in ((64, 96), (64, 64)):
            out = model(torch.randn(2, 3, H, W))
            assert list(out) == list(model.output_shape())
            for key, spec in model.output_shape().items():
                assert out[key].shape == (2, spec.channels, H // spec.stride, W // spec.stride)


@each
def test_odd_sizes_are_rounded_up(name):
    model = encoder(name)
    with torch.no_grad():
        out = model(torch.randn(1, 3, 45, 77))
    for key, spec in model.output_shape().items():
        assert out[key].shape[2:] == (-(-45 // spec.stride), -(-77 // spec.stride))


@each
@both_kinds
def test_batch_equals_single_frames(name, deep):
    model, x = encoder(name), torch.randn(3, 3, 64, 96)
    prompts = prompts_for(model, 3, deep)
    with torch.no_grad():
        together = model(x, prompts)
        for i in range(3):
            alone = model(x[i:i + 1], [p[i:i + 1] for p in prompts])
            for key, value in alone.items():
                torch.testing.assert_close(together[key][i:i + 1], value, atol=1e-5, rtol=1e-5)


@each
@both_kinds
def test_prompts_change_the_output_and_their_number_may_vary(name, deep):
    model, x = encoder(name), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        plain = model(x)
        for count in (1, 3, 13):
            prompted = model(x, prompts_for(model, 1, deep, count))
            assert all((prompted[n] - plain[n]).abs().max() > 1e-4 for n in plain)
            assert all(prompted[n].shape == plain[n].shape for n in plain)


@each
@both_kinds
def test_order_of_prompts_does_not_matter(name, deep):
    model, x = encoder(name), torch.randn(1, 3, 64, 64)
    prompts, order = prompts_for(model, 1, deep), torch.tensor([3, 0, 4, 2, 1])
    with torch.no_grad():
        one, other = model(x, prompts), model(x, [p[:, order] for p in prompts])
    for key in one:
        torch.testing.assert_close(one[key], other[key], atol=2e-5, rtol=1e-5)


@each
@pytest.mark.parametrize("wrong", ["count", "width", "batch", "dimensions"])
def test_prompts_that_do_not_fit_are_named(name, wrong):
    model, x = encoder(name), torch.randn(2, 3, 32, 32)
    prompts = {"count": [torch.randn(2, 5, 16)] * 2, "width": [torch.randn(2, 5, 17)],
               "batch": [torch.randn(1, 5, 16)], "dimensions": [torch.randn(5, 16)]}[wrong]
    with pytest.raises(ValueError, match="expected"):
        model(x, prompts)


@each
def test_gradients_reach_prompts_and_every_parameter(name):
    model, x = encoder(name), torch.randn(1, 3, 64, 64)
    prompts = [p.requires_grad_() for p in prompts_for(model, 1, deep=False)]
    sum(out.pow(2).mean() for out in model(x, prompts).values()).backward()
    assert prompts[0].grad.abs().sum() > 0
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@each
def test_support_embeddings_are_the_last_features_without_randomness(name):
    model, clips = encoder(name).train(), torch.randn(2, 3, 3, 64, 64)
    support = embed_support(model, clips)
    assert support.shape == (2, 3, *model.eval()(clips[:, 0])[model.embed_feature].shape[2:], model.embed_width)
    assert not support.requires_grad
    with torch.no_grad():
        again = model(clips[:, 1])[model.embed_feature].permute(0, 2, 3, 1)
    torch.testing.assert_close(support[:, 1], again, atol=1e-5, rtol=1e-5)


@each
def test_built_from_the_config_as_by_hand(name):
    cfg = get_cfg()
    add_stpn_config(cfg)
    cfg.MODEL.BACKBONE.NAME = {"swin": "PromptedSwin", "cvt": "PromptedCvT"}[name]
    with torch.device("meta"):
        built, plain = build_backbone(cfg), type(encoder(name))()
    assert {k: v.shape for k, v in built.state_dict().items()}.items() <= \
        {k: v.shape for k, v in plain.state_dict().items()}.items()
    assert built.output_shape() == plain.output_shape()
