"""Each predictor against the paper's equations, or the released module, written out plainly."""

import pytest
import torch
import torch.nn.functional as F

from stpn.prompting import (
    ConstantPredictor,
    MixerPredictor,
    ReleasedAttentionPredictor,
    ReleasedTopKPredictor,
    TransformerPredictor,
)

C, D, P = 32, 16, 5
ALL = [TransformerPredictor, MixerPredictor, ReleasedAttentionPredictor, ReleasedTopKPredictor]


def build(cls, widths=(D,), **kwargs):
    torch.manual_seed(0)
    if cls in (TransformerPredictor, ReleasedAttentionPredictor):
        kwargs = {"num_heads": 4, **kwargs}
    model = cls(support_width=C, prompt_widths=widths, num_prompts=P, **kwargs).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return model


def attention(q, k, v, heads):
    """(N, D), (M, D), (M, D) -> (N, D), head by head."""
    out = []
    for a, b, c in zip(q.chunk(heads, -1), k.chunk(heads, -1), v.chunk(heads, -1)):
        out.append(torch.softmax(a @ b.T / a.shape[-1] ** 0.5, -1) @ c)
    return torch.cat(out, -1)


def norm(x, layer):
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + layer.eps).sqrt()
    return x * layer.weight + layer.bias


def plain_transformer(m, support):
    t = norm(support.reshape(-1, C) @ m.project.weight.T + m.project.bias, m.norm_support)
    wq, wk, wv = m.attention.in_proj_weight.chunk(3)
    bq, bk, bv = m.attention.in_proj_bias.chunk(3)
    q = norm(m.query, m.norm_query) @ wq.T + bq
    hat = m.query + m.attention.out_proj(attention(q, t @ wk.T + bk, t @ wv.T + bv, 4))  # equation 3
    z = norm(hat, m.norm_ffn)
    return F.gelu(z @ m.ffn[0].weight.T + m.ffn[0].bias) @ m.ffn[2].weight.T + m.ffn[2].bias + z  # equation 4


def plain_mixer(m, support):
    pooled = F.adaptive_avg_pool2d(support.mean(0).permute(2, 0, 1), 7).reshape(C, 49)
    x = norm(pooled.T, m.norm_tokens).T
    x = F.gelu(x @ m.mix_tokens[0].weight.T + m.mix_tokens[0].bias) @ m.mix_tokens[2].weight.T + m.mix_tokens[2].bias
    x = norm(x, m.norm_prompts).T
    return F.gelu(x @ m.mix_channels[0].weight.T + m.mix_channels[0].bias) @ m.mix_channels[2].weight.T \
        + m.mix_channels[2].bias


def plain_released_attention(m, support):
    t = m.reduction(support.reshape(-1, C))
    return m.fc(attention(m.fc_embed(m.query), m.ref_fc_embed(t), m.ref_fc(t), 4))


def plain_released_topk(m, support):
    frames = [frame.reshape(-1, C) for frame in support]
    picked = [f[sorted(range(len(f)), key=lambda i: -f[i].abs().sum().item())[:P]] for f in frames]
    return m.reduction(torch.stack(picked).mean(0))


@pytest.mark.parametrize("cls, plain", list(zip(ALL, [plain_transformer, plain_mixer, plain_released_attention,
                                                      plain_released_topk])))
def test_predictor_equals_its_equations(cls, plain):
    model, support = build(cls), torch.randn(2, 3, 4, 6, C)
    (prompts,) = model(support)
    assert prompts.shape == (2, P, D)
    for image in range(2):
        torch.testing.assert_close(prompts[image], plain(model, support[image]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("cls", ALL)
def test_order_of_support_frames_does_not_matter(cls):
    model, support = build(cls), torch.randn(2, 4, 3, 5, C)
    torch.testing.assert_close(model(support)[0], model(support[:, [2, 0, 3, 1]])[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("cls", ALL)
def test_any_map_size_and_number_of_frames_is_taken(cls):
    model = build(cls)
    for shape in [(1, 1, 1, 1), (1, 2, 7, 7), (2, 5, 13, 9)]:
        assert model(torch.randn(*shape, C))[0].shape == (shape[0], P, D)


@pytest.mark.parametrize("cls", ALL)
def test_deep_prompts_are_one_linear_layer_each_on_the_shallow_ones(cls):
    model, support = build(cls, (D, D, 2 * D)), torch.randn(2, 3, 4, 4, C)
    prompts, base = model(support), model.predict(support)
    assert [p.shape[-1] for p in prompts] == [D, D, 2 * D]
    for p, layer in zip(prompts, model.to_layers):
        torch.testing.assert_close(p, base @ layer.weight.T + layer.bias, atol=1e-5, rtol=1e-4)


def test_constant_prompts_do_not_depend_on_the_supports_and_learn():
    model = build(ConstantPredictor, (D, 2 * D))
    first, second = (model(torch.randn(2, 3, 4, 4, C)) for _ in range(2))
    assert [p.shape for p in first] == [(2, P, D), (2, P, 2 * D)]
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(a[0], a[1])
    first[0].sum().backward()
    assert model.prompts.grad.abs().max() > 0


@pytest.mark.parametrize("cls, expected", [(TransformerPredictor, 117_048), (MixerPredictor, 66_726),
                                           (ConstantPredictor, 7 * 96)])
def test_parameter_counts_at_swin_t(cls, expected):
    model = cls(support_width=768, prompt_widths=(96,))
    assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize("cls, prompts, expected", [
    (ReleasedAttentionPredictor, 5, 111_552), (ReleasedAttentionPredictor, 7, 111_744),
    (ReleasedTopKPredictor, 5, 73_824)])
def test_parameter_counts_of_the_released_predictors(cls, prompts, expected):
    model = cls(support_width=768, prompt_widths=(96,), num_prompts=prompts)
    assert sum(p.numel() for p in model.parameters()) == expected


def test_token_norm_standardises_tokens_and_keeps_running_statistics():
    model = build(TransformerPredictor, token_norm=True)
    model.train()
    support = torch.randn(4, 2, 6, 6, C) * 0.1 + torch.randn(C) * 5  # one large component common to all
    seen = []
    model.project.register_forward_hook(lambda m, args, out: seen.append(args[0]))
    for _ in range(150):
        trained = model(support)[0]
    assert seen[-1].mean((0, 1)).abs().max() < 1e-4 and abs(seen[-1].std() - 1) < 0.05
    model.eval()
    torch.testing.assert_close(model(support)[0], trained, atol=0.05, rtol=0.05)


def test_token_norm_makes_prompts_of_different_videos_differ():
    common = torch.randn(C) * 5
    support = torch.randn(8, 1, 1, 1, C) * 0.1 + torch.randn(8, 2, 6, 6, C) * 0.05 + common
    spread = {on: build(TransformerPredictor, token_norm=on).train()(support)[0].var(0).mean().item()
              for on in (True, False)}
    assert spread[True] > 10 * spread[False]


def test_width_that_does_not_divide_into_heads_is_named():
    with pytest.raises(ValueError, match="does not divide into 16 heads"):
        TransformerPredictor(support_width=C, prompt_widths=(24,))


def test_released_attention_equals_the_recorded_module(fixtures_dir):
    data = torch.load(fixtures_dir / "prompting" / "shallow_att.pt", weights_only=False)
    model = ReleasedAttentionPredictor(support_width=128, prompt_widths=(16,), num_prompts=5,
                                       num_heads=data["predictor_num_heads"])
    model.load_state_dict(data["predictor_state_dict"])
    for case in data["cases"]:
        (prompts,) = model(case["ref_stage4"].permute(0, 2, 3, 1)[None])
        torch.testing.assert_close(prompts[0], case["prompt"], atol=1e-4, rtol=0)
