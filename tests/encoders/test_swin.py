"""PromptedSwin against detectron2's Swin, a plain rewrite of the prompting rule, and the released modules."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling.backbone.swin import SwinTransformer

from stpn.encoders import PromptedSwin
from stpn.encoders.swin_block import WindowAttention

SIZES = [(64, 96), (45, 77), (131, 90), (4, 4)]
SMALL = {"embed_dim": 16, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8), "drop_path_rate": 0.0}


def small(**kwargs):
    torch.manual_seed(0)
    model = PromptedSwin(**{**SMALL, **kwargs}).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def prompts_for(model, batch, deep, count=5):
    widths = model.prompt_widths if deep else model.prompt_widths[:1]
    return [torch.randn(batch, count, c) for c in widths]


@pytest.mark.parametrize("size", SIZES)
def test_no_prompts_equals_detectron2_swin_with_the_same_weights(size):
    ours = small()
    theirs = SwinTransformer(**{**SMALL, "depths": [2, 2, 2, 2]}, out_indices=(0, 1, 2, 3)).eval()
    theirs.load_state_dict(ours.state_dict())  # the same names, no map
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        for a, b in zip(ours(x).values(), theirs(x).values()):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("size", [(64, 96), (45, 77)])
def test_batch_equals_single_frames(deep, size):
    model = small()
    x, prompts = torch.randn(3, 3, *size), prompts_for(model, 3, deep)
    with torch.no_grad():
        together = model(x, prompts)
        for b in range(3):
            alone = model(x[b:b + 1], [p[b:b + 1] for p in prompts])
            for name in alone:
                torch.testing.assert_close(together[name][b:b + 1], alone[name], atol=1e-5, rtol=1e-5)


def copied_prompts(attn, x, p, shift):
    """The rule as the released code has it, plainly: every window gets its own copy of the prompts, one window
    at a time; x (H, W, C) and p (P, C) normalised -> attention outputs (H, W, C), (P, C)."""
    M, (H, W, C), P = attn.side, x.shape, len(p)
    padded = F.pad(x, (0, 0, 0, -W % M, 0, -H % M))
    region = torch.zeros(padded.shape[:2])
    if shift:
        for i, rows in enumerate((slice(0, -M), slice(-M, -shift), slice(-shift, None))):
            for j, cols in enumerate((slice(0, -M), slice(-M, -shift), slice(-shift, None))):
                region[rows, cols] = 3 * i + j
        padded = torch.roll(padded, (-shift, -shift), (0, 1))
    bias = attn.relative_position_bias_table[attn.relative_position_index].permute(2, 0, 1)
    out, copies = torch.zeros_like(padded), []
    for r in range(0, padded.shape[0], M):
        for c in range(0, padded.shape[1], M):
            window = torch.cat([p, padded[r:r + M, c:c + M].reshape(-1, C)])
            q, k, v = attn.qkv(window).reshape(len(window), 3, attn.num_heads, -1).permute(1, 2, 0, 3)
            logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
            g = region[r:r + M, c:c + M].flatten()
            logits[:, P:, P:] += bias + (g[:, None] != g[None, :]) * -100.0
            y = attn.proj((logits.softmax(-1) @ v).transpose(0, 1).reshape(len(window), C))
            copies.append(y[:P])
            out[r:r + M, c:c + M] = y[P:].reshape(M, M, C)
    out = torch.roll(out, (shift, shift), (0, 1)) if shift else out
    return out[:H, :W], torch.stack(copies).mean(0)


def attend(attn, x, p, shift):
    """attn on patches x (B, H, W, C) and prompts p (B, P, C) -> the same two."""
    size = x.shape[1:3]
    out = attn(torch.cat([x.flatten(1, 2), p], 1), size, shift=shift, keep=p.shape[1])
    return out[:, :-p.shape[1]].unflatten(1, size), out[:, -p.shape[1]:]


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("grid", [(14, 21), (10, 17), (3, 5)])
def test_shared_prompts_equal_prompts_copied_into_every_window(shift, grid):
    torch.manual_seed(0)
    attn = WindowAttention(16, 7, 4).eval()
    torch.nn.init.normal_(attn.relative_position_bias_table)
    x, p = torch.randn(2, *grid, 16), torch.randn(2, 5, 16)
    with torch.no_grad():
        patches, prompts = attend(attn, x, p, shift)
        for b in range(2):
            plain_patches, plain_prompts = copied_prompts(attn, x[b], p[b], shift)
            torch.testing.assert_close(patches[b], plain_patches, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(prompts[b], plain_prompts, atol=1e-5, rtol=1e-5)


def test_last_deep_prompt_reaches_the_last_block():
    model, x = small(), torch.randn(1, 3, 64, 64)
    prompts = prompts_for(model, 1, True)
    with torch.no_grad():
        before = model(x, prompts)
        after = model(x, [*prompts[:-1], prompts[-1] + 1])
    assert torch.equal(before["res4"], after["res4"]) and not torch.equal(before["res5"], after["res5"])


def test_contract_of_a_promptable_backbone():
    model = small(out_features=("res3", "res5"))
    assert len(model.prompt_widths) == 8 and model.prompt_widths[0] == 16 and model.prompt_widths[-1] == 128
    assert model.embed_width == 128 and model.size_divisibility == 32
    out = model(torch.randn(1, 3, 64, 96))
    assert list(out) == ["res3", "res5"] == list(model.output_shape())
    for name, spec in model.output_shape().items():
        assert out[name].shape == (1, spec.channels, 64 // spec.stride, 96 // spec.stride)


def test_cached_bias_follows_the_weights():
    model, x = small(), torch.randn(1, 3, 64, 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    with torch.no_grad():
        model(x)
    model(x)["res5"].square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        cached = model(x)["res5"]
        for m in model.modules():
            if isinstance(m, WindowAttention):
                m._bias_cache.clear()
        assert torch.equal(cached, model(x)["res5"])


@torch.inference_mode()
def test_model_made_in_inference_mode_works_and_follows_its_weights():
    model, x = small(), torch.randn(1, 3, 45, 77)
    before = model(x)["res5"]
    for p in model.parameters():
        p.add_(0.05)
    after = model(x)["res5"]
    assert not torch.equal(before, after)
    with torch.inference_mode(False):
        outside = small()
        outside.load_state_dict(model.state_dict())
    torch.testing.assert_close(after, outside(x)["res5"])


def test_bias_cache_is_bounded_over_many_image_sizes():
    model = small()
    with torch.no_grad():
        for side in range(32, 300, 28):
            model(torch.randn(1, 3, side, side))
    sizes = [len(m._bias_cache) for m in model.modules() if isinstance(m, WindowAttention)]
    assert max(sizes) <= WindowAttention.CACHE_SIZE


def test_gradients_with_prompts_equal_finite_differences():
    torch.manual_seed(0)
    attn = WindowAttention(8, 2, 2).double()
    x = torch.randn(1, 3, 3, 8, dtype=torch.double, requires_grad=True)
    p = torch.randn(1, 2, 8, dtype=torch.double, requires_grad=True)
    for shift in (0, 1):
        assert torch.autograd.gradcheck(lambda x, p: attend(attn, x, p, shift), (x, p))  # noqa: B023


def test_stochastic_depth_keeps_or_drops_patches_and_prompts_of_an_image_together():
    from stpn.encoders.swin_block import SwinBlock

    torch.manual_seed(0)
    block = SwinBlock(16, num_heads=2, side=4, shift=0, mlp_ratio=2.0, drop_path=0.5).train()
    x = torch.randn(64, 4 * 4 + 3, 16)
    block.mlp.requires_grad_(False)
    torch.nn.init.zeros_(block.mlp.fc2.weight), torch.nn.init.zeros_(block.mlp.fc2.bias)
    torch.nn.init.normal_(block.attn.proj.bias)
    changed = (block(x, (4, 4), keep=3) != x).any(2)
    kept_x, kept_p = changed[:, :16].any(1), changed[:, 16:].any(1)
    assert torch.equal(kept_x, kept_p) and 10 < kept_x.sum() < 54


def test_training_after_inference_mode():
    model, x = small(), torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        model(x)
    model.train()(x, prompts_for(model, 1, False))["res5"].square().mean().backward()
    assert model.patch_embed.proj.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_autocast_is_close_to_full_precision(dtype):
    model, x = small(), torch.randn(1, 3, 45, 77)
    with torch.no_grad():
        plain = model(x)
        with torch.autocast("cpu", dtype):
            rough = model(x)
    for name in plain:
        torch.testing.assert_close(rough[name].float(), plain[name], atol=0.3, rtol=0.1)


def test_freeze_at_freezes_that_many_parts():
    frozen = [n for n, p in small(freeze_at=2).named_parameters() if not p.requires_grad]
    assert frozen and all(n.startswith(("patch_embed.", "layers.0.")) for n in frozen)
    assert all(p.requires_grad for p in small().parameters())


def to_our_names(state):
    """mmdet's Swin names and merging order -> detectron2's (table in the recorded files' description)."""
    out = {}
    for name, value in state.items():
        for old, new in (("patch_embed.projection", "patch_embed.proj"), ("stages.", "layers."),
                         ("attn.w_msa.", "attn."), ("ffn.layers.0.0", "mlp.fc1"), ("ffn.layers.1", "mlp.fc2")):
            name = name.replace(old, new)
        if "downsample" in name:
            shape = value.shape
            value = value.reshape(*shape[:-1], -1, 4).transpose(-1, -2)[..., [0, 2, 1, 3], :].reshape(shape)
        out[name] = value
    return out


def recorded(path, key):
    data = torch.load(path, weights_only=False)
    meta = data["meta"]
    model = PromptedSwin(embed_dim=meta["embed_dims"], depths=meta["depths"], num_heads=meta["num_heads"],
                         prompt_merge="released").eval()
    state = {n: v for n, v in data[key].items() if "prompt" not in n}
    model.load_state_dict(to_our_names(state))
    return model, data


def assert_equal_outputs(ours, theirs):
    for a, b in zip(ours.values(), theirs):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


@torch.no_grad()
def test_shallow_prompts_equal_the_released_module(fixtures_dir):
    model, data = recorded(fixtures_dir / "prompting" / "shallow_att.pt", "backbone_state_dict")
    for case in data["cases"]:
        prompt = case["prompt"][None]
        assert_equal_outputs(model(case["x"], [prompt]), case["outs"])
        assert_equal_outputs(model(case["x"]), case["outs_no_prompt"])
        assert_equal_outputs(model(case["x2"], [prompt.expand(2, -1, -1)]), case["outs2_frame_by_frame"])
        torch.testing.assert_close(model(case["ref"])["res5"], case["ref_stage4"], atol=1e-4, rtol=0)


def test_gradients_of_the_predictor_equal_the_released_ones(fixtures_dir):
    from stpn.prompting import ReleasedAttentionPredictor, embed_support

    model, data = recorded(fixtures_dir / "prompting" / "shallow_att.pt", "backbone_state_dict")
    predictor = ReleasedAttentionPredictor(support_width=128, prompt_widths=(16,),
                                           num_heads=data["predictor_num_heads"])
    predictor.load_state_dict(data["predictor_state_dict"])
    for case in data["cases"]:
        predictor.zero_grad()
        outs = model(case["x"], predictor(embed_support(model, case["ref"][None])))
        loss = sum(o.square().mean() for o in outs.values())
        loss.backward()
        torch.testing.assert_close(loss, case["loss"], atol=1e-4, rtol=0)
        for name, p in predictor.named_parameters():
            torch.testing.assert_close(p.grad, case["predictor_grads"][name], atol=1e-4, rtol=0)


@torch.no_grad()
def test_deep_prompts_equal_the_recorded_replacement_rule(fixtures_dir):
    model, data = recorded(fixtures_dir / "prompting" / "vpt_learned_deep.pt", "state_dict")
    state = data["state_dict"]
    prompts = [state["prompt_embeddings"]]
    for stage in range(4):
        prompts += list(state[f"deep_prompt_embeddings_{stage}"].split(1))
    for case in data["cases"]:
        assert_equal_outputs(model(case["x"], [p.expand(len(case["x"]), -1, -1) for p in prompts]), case["outs"])
