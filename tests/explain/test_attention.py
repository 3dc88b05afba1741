"""What prompts read and where they are read, against attention that shows its own weights."""

import pytest
import torch

from stpn.encoders import PromptedCvT, PromptedSwin
from stpn.encoders.cvt_block import Context, MixedAttention
from stpn.encoders.swin_block import WindowAttention
from stpn.errors import InputError
from stpn.explain import block_names, prompt_reading, support_reading
from stpn.explain.attention import _mixed_weights, _window_weights
from stpn.prompting import ConstantPredictor, MixerPredictor, ReleasedAttentionPredictor, TransformerPredictor


@pytest.mark.parametrize("size, shift", [((6, 6), 0), ((6, 6), 1), ((5, 7), 0), ((5, 7), 1)])
@pytest.mark.parametrize("keep", [0, 2])
def test_patches_read_prompts_as_a_marked_prompt_shows(size, shift, keep):
    """Channel 0 marks one prompt and is all that values hold, so that the attention's output is that prompt's share."""
    torch.manual_seed(0)
    attention, P, T = WindowAttention(8, 3, 2).eval(), 2, size[0] * size[1]
    torch.nn.init.normal_(attention.relative_position_bias_table)
    with torch.no_grad():
        attention.qkv.weight[16:] = 0
        attention.qkv.weight[16:, 0] = 1
        attention.qkv.bias[16:] = 0
        attention.proj.weight.copy_(torch.eye(8))
        attention.proj.bias.zero_()
        for p in range(P):
            x = torch.randn(1, T + P, 8)
            x[:, :, 0] = 0
            x[:, T + p, 0] = 1
            shown = attention(x, size, shift=shift, keep=keep)[0, :T].mean(1).view(size)
            torch.testing.assert_close(_window_weights(attention, x, size, shift=shift, keep=keep)[p], shown)


@pytest.mark.parametrize("with_templates", [False, True])
@pytest.mark.parametrize("projection", ["bypass", "constant"])
def test_mixed_attention_reads_prompts_as_a_marked_prompt_shows(with_templates, projection):
    """As above: values hold channel 0 alone, which is 1 for one prompt and 0 for patches and templates."""
    torch.manual_seed(0)
    attention, P, size = MixedAttention(8, 2, projection).eval(), 3, (5, 6)
    with torch.no_grad():
        attention.proj_v.weight.zero_()
        attention.proj_v.weight[:, 0] = 1
        attention.proj_v.bias.zero_()
        attention.conv_proj_v.conv.weight.zero_()
        attention.conv_proj_v.conv.weight[:, :, 1, 1] = (1 + attention.conv_proj_v.bn.eps) ** 0.5
        attention.proj.weight.copy_(torch.eye(8))
        attention.proj.bias.zero_()
        context = Context(torch.randn(1, 7, 8), torch.zeros(1, 7, 8)) if with_templates else None
        for p in range(P):
            x = torch.randn(1, 30 + P, 8)
            x[:, :, 0] = 0
            x[:, 30 + p, 0] = 1
            shown = attention(x, size, 1, context)[0][0, :30].mean(1).view(size)
            torch.testing.assert_close(_mixed_weights(attention, x, size, 1, context)[p], shown)


def test_deep_prompts_and_templates_are_read_in_every_block_of_a_cvt():
    torch.manual_seed(0)
    cvt = PromptedCvT(widths=(8, 16, 32), depths=(1, 1, 2), num_heads=(1, 1, 1)).eval()
    with torch.no_grad():
        templates = cvt.embed_templates(torch.randn(1, 2, 3, 32, 32))
    prompts = [torch.randn(1, 3, width) for width in cvt.prompt_widths]
    maps = prompt_reading(cvt, torch.randn(1, 3, 48, 64), prompts, templates=templates)
    assert [tuple(m.shape) for m in maps] == [(3, 12, 16), (3, 6, 8), *[(3, 3, 4)] * 2]
    assert all(0 < m.min() and m.sum(0).max() < 1 for m in maps)
    assert block_names(cvt) == [("res2", 0), ("res3", 0), ("res4", 0), ("res4", 1)]


def test_every_block_of_a_swin_has_a_map_of_its_size():
    torch.manual_seed(0)
    swin = PromptedSwin(embed_dim=8, depths=(1, 2, 1, 1), num_heads=(1, 1, 1, 1), window_size=3).eval()
    images, prompts = torch.randn(1, 3, 40, 64), [torch.randn(1, 3, 8)]
    maps = prompt_reading(swin, images, prompts)
    assert [tuple(m.shape) for m in maps] == [(3, 10, 16), *[(3, 5, 8)] * 2, (3, 3, 4), (3, 2, 2)]
    assert all(0 < m.min() and m.sum(0).max() < 1 for m in maps)
    assert not any(m._forward_hooks for m in swin.modules())


def test_support_reading_equals_softmax_written_plainly():
    torch.manual_seed(0)
    predictor = TransformerPredictor(support_width=12, prompt_widths=(8,), num_prompts=3, num_heads=2).eval()
    support = torch.randn(1, 2, 3, 4, 12)
    with torch.no_grad():
        tokens = predictor.norm_support(predictor.project(support.flatten(1, 3)))[0]
        q, k, _ = predictor.attention.in_proj_weight.chunk(3)
        bq, bk, _ = predictor.attention.in_proj_bias.chunk(3)
        queries, keys = predictor.norm_query(predictor.query) @ q.T + bq, tokens @ k.T + bk
        plain = sum((queries[:, h] @ keys[:, h].T / 2).softmax(-1) for h in (slice(0, 4), slice(4, 8))) / 2
    found = support_reading(predictor, support)
    assert found.shape == (3, 2, 3, 4)
    torch.testing.assert_close(found.flatten(1), plain)
    assert not predictor.attention._forward_hooks and not predictor.attention._forward_pre_hooks


def test_the_released_attention_is_shown_as_softmax_written_plainly():
    torch.manual_seed(0)
    predictor = ReleasedAttentionPredictor(support_width=12, prompt_widths=(8, 8), num_prompts=3, num_heads=2).eval()
    support = torch.randn(1, 2, 3, 4, 12)
    with torch.no_grad():
        tokens = predictor.reduction(support.flatten(1, 3))[0]
        queries, keys = predictor.fc_embed(predictor.query), predictor.ref_fc_embed(tokens)
        plain = sum((queries[:, h] @ keys[:, h].T / 2).softmax(-1) for h in (slice(0, 4), slice(4, 8))) / 2
    torch.testing.assert_close(support_reading(predictor, support).flatten(1), plain)


def test_models_without_attention_to_show_are_refused():
    for predictor in (MixerPredictor, ConstantPredictor):
        with pytest.raises(InputError, match=predictor.__name__):
            support_reading(predictor(support_width=8, prompt_widths=(8,)), torch.randn(1, 1, 7, 7, 8))
    with pytest.raises(InputError, match="not an encoder"):
        prompt_reading(_Plain(), torch.randn(1, 3, 8, 8), None)


class _Plain(torch.nn.Module):
    def forward(self, images, prompts=None):
        return images
