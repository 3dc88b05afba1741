"""PromptedCvT against the recorded MixFormer, plain rewrites, and the rules by which prompts pass it."""

import pytest
import torch
import torch.nn.functional as F

from stpn.encoders import PromptedCvT
from stpn.encoders.cvt_block import ConvProjection, MixedAttention, PatchEmbed

SMALL = {"widths": (16, 32, 64), "depths": (1, 2, 3), "num_heads": (1, 2, 4), "drop_path_rates": (0.0, 0.0, 0.0)}


def small(**kwargs):
    torch.manual_seed(0)
    model = PromptedCvT(**{**SMALL, **kwargs}).eval()
    for name, buffer in model.named_buffers():  # frozen statistics as after some training
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    return model


def tower(x, weights, corner):
    """The official corner head, written plainly: four convolutions with batch normalisation, and a last one."""
    for i in range(1, 5):
        get = lambda name: weights[f"box_head.conv{i}_{corner}.{name}"]  # noqa: B023, E731
        x = F.conv2d(x, get("0.weight"), get("0.bias"), padding=1)
        x = F.batch_norm(x, get("1.running_mean"), get("1.running_var"), get("1.weight"), get("1.bias")).relu()
    return F.conv2d(x, weights[f"box_head.conv5_{corner}.weight"], weights[f"box_head.conv5_{corner}.bias"])


def test_search_features_give_the_recorded_score_maps(fixtures_dir):
    folder = fixtures_dir / "vot" / "tiny"
    weights = torch.load(folder / "state_dict.pt", weights_only=True)
    case = torch.load(folder / "joint.pt", weights_only=True)
    model = PromptedCvT(**SMALL).eval()
    own = {name[9:]: value for name, value in weights.items() if name.startswith("backbone.")}
    left = model.load_state_dict(own, strict=False)
    assert left.missing_keys == []
    assert sorted(left.unexpected_keys) == ["head.bias", "head.weight", "norm.bias", "norm.weight"]  # ImageNet's
    with torch.no_grad():
        templates = model.embed_templates(torch.stack([case["template"], case["online_template"]], 1))
        found = model(case["search"], templates=templates)["res4"]
    for corner in ("tl", "br"):
        recorded = case[f"score_map_{corner}"]
        torch.testing.assert_close(tower(found, weights, corner), recorded, atol=2e-4, rtol=0)


def test_attention_equals_a_plain_rewrite():
    torch.manual_seed(0)
    attention, n, size = MixedAttention(8, 2, "bypass").eval(), 2, (4, 6)
    x, context = torch.randn(1, 2 * 24 + 3, 8), [torch.randn(1, 5, 8) for _ in range(2)]
    found, own = attention(x, size, n, context)

    def project(part, linear, stride):
        maps = [x[0, i * 24:(i + 1) * 24].T.view(1, 8, 4, 6) for i in range(n)]
        tokens = [part.bn(F.conv2d(m, part.conv.weight, stride=stride, padding=1, groups=8)).flatten(2)[0].T
                  for m in maps]
        return linear(torch.cat([*tokens, x[0, 48:]]))

    q = project(attention.conv_proj_q, attention.proj_q, 1)
    k = torch.cat([context[0][0], project(attention.conv_proj_k, attention.proj_k, 2)])
    v = torch.cat([context[1][0], project(attention.conv_proj_v, attention.proj_v, 2)])
    heads = [((q[:, h] @ k[:, h].T) / 8 ** 0.5).softmax(-1) @ v[:, h] for h in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(found[0], attention.proj(torch.cat(heads, 1)), atol=1e-5, rtol=1e-5)
    assert own.keys.shape == (1, 2 * 6 + 3, 8)


def test_templates_do_not_depend_on_prompts_or_search():
    model, templates = small(), torch.randn(1, 2, 3, 32, 32)
    with torch.no_grad():
        kept = model.embed_templates(templates)
        before = [part.clone() for context in kept.contexts for part in context]
        model(torch.randn(1, 3, 64, 64), [torch.randn(1, 5, 16)], templates=kept)
        again = model.embed_templates(templates)
    assert all(torch.equal(a, b) for a, b in zip(before, (p for c in kept.contexts for p in c), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, (p for c in again.contexts for p in c), strict=True))
    assert len(kept.contexts) == 6 and kept.maps.shape == (1, 2, 64, 2, 2)


def test_templates_change_the_features_and_see_each_other():
    model, x, templates = small(), torch.randn(1, 3, 64, 64), torch.randn(1, 2, 3, 32, 32)
    with torch.no_grad():
        plain, seen = model(x)["res4"], model(x, templates=model.embed_templates(templates))["res4"]
        alone = model.embed_templates(templates[:, :1]).maps
    assert (plain - seen).abs().max() > 1e-4
    assert (alone - model.embed_templates(templates).maps[:, :1]).abs().max() > 1e-5


def test_carried_prompt_equals_the_inside_of_an_image_of_equal_pixels():
    torch.manual_seed(0)
    embed = PatchEmbed(6, 10, kernel=3, stride=2, padding=1)
    prompt = torch.randn(1, 1, 6)
    tokens, (h, w) = embed(prompt[0, 0].view(1, 6, 1, 1).expand(1, 6, 8, 8), 1)
    torch.testing.assert_close(embed.carry(prompt)[0, 0], tokens.view(h, w, 10)[1, 1], atol=1e-5, rtol=1e-5)


def test_constant_prompt_projection_equals_the_inside_of_an_image_of_equal_pixels():
    torch.manual_seed(0)
    projection = ConvProjection(6, 1, "constant")
    projection.bn.running_mean.uniform_(-1, 1)
    prompt = torch.randn(1, 1, 6)
    image = prompt.expand(1, 25, 6)
    found = projection(torch.cat([image, prompt], 1), (5, 5), 1)
    torch.testing.assert_close(found[0, 25], found[0, 12], atol=1e-5, rtol=1e-5)


def test_bypassing_prompts_do_not_feel_the_convolution():
    projection = ConvProjection(6, 2, "bypass")
    x = torch.randn(2, 16 + 3, 6)
    assert torch.equal(projection(x, (4, 4), 1)[:, 4:], x[:, 16:])


def test_no_prompts_equals_an_empty_set_of_prompts():
    model, x = small(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        plain, empty = model(x), model(x, [torch.zeros(1, 0, 16)])
    assert all(torch.equal(plain[name], empty[name]) for name in plain)


def test_published_shapes():
    with torch.device("meta"):
        model = PromptedCvT()
        large = PromptedCvT(widths=(192, 768, 1024), depths=(2, 2, 12), num_heads=(3, 12, 16))
    assert model.prompt_widths == (64,) + (192,) * 4 + (384,) * 16 and large.prompt_widths[-1] == 1024
    # 31.58M of the published backbone are with ImageNet's unused norm and classifier.
    unused = 2 * 384 + 384 * 1000 + 1000
    assert round((sum(p.numel() for p in model.parameters()) + unused) / 1e6, 1) == 31.6


def test_freeze_at_freezes_that_many_stages():
    trained = {n.split(".")[0] for n, p in small(freeze_at=1).named_parameters() if p.requires_grad}
    assert trained == {"stage1", "stage2"}


@pytest.mark.parametrize("wrong", [{"depths": (1, 2)}, {"prompt_projection": "conv"}, {"out_features": ("res5",)},
                                   {"num_heads": (3, 2, 4)}])
def test_values_that_make_no_encoder_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        PromptedCvT(**{**SMALL, **wrong})
