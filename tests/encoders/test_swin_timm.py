"""timm's Swin, Microsoft's two Swins and ours: where they are the same function, and where not.

detectron2's Swin (Microsoft's for detection) pads a map to whole windows and then shifts it; every map is cut into
windows of the full size, and odd blocks always shift. timm shifts first and pads then. Where a map is a multiple of
the window nothing is padded and the order cannot matter; elsewhere the two are different functions, and ours is
detectron2's. timm's default and Microsoft's classifier also drop the shift of a map that is one window.
"""

from functools import partial

import pytest
import timm
import torch
import torch.nn.functional as F
from detectron2.modeling.backbone.swin import SwinTransformer
from timm.models import swin_transformer as timm_swin

from stpn.encoders import PromptedSwin
from stpn.engine.weights import load_weights

TINY = {"embed_dim": 8, "depths": (2, 2, 2, 2), "num_heads": (1, 1, 2, 2)}
# Pixels; maps of 56, 28, 14 and 7 tokens or twice that. 221 and 223 are no multiples of anything.
WHOLE = [(224, 224), (448, 224), (221, 223), (222, 446)]
BROKEN = [(192, 256), (60, 61), (45, 230), (250, 249)]


def same_weights(*, always_partition=True, **sizes):
    """-> timm's Swin with random weights of a size that matters, and ours with the same."""
    torch.manual_seed(0)
    sizes = {**TINY, **sizes}
    theirs = timm.create_model("swin_tiny_patch4_window7_224", strict_img_size=False,
                               always_partition=always_partition, **sizes).eval()
    theirs.patch_embed.dynamic_img_pad = True  # pixels to whole patches, as all others do by themselves
    for p in theirs.parameters():
        torch.nn.init.normal_(p, std=0.3)
    ours = PromptedSwin(**sizes).eval()
    report = load_weights(ours, theirs.state_dict(), allow_partial=True)
    assert report.missing == [f"norm{i}.{kind}" for i in range(4) for kind in ("weight", "bias")]
    return theirs, ours


@torch.no_grad()
def differences(theirs, ours, size):
    """Largest difference of each of the four maps. Ours are normalised by fresh LayerNorms, timm's are not."""
    picture = torch.randn(1, 3, *size)
    maps = [y.permute(0, 2, 3, 1) for y in theirs.forward_intermediates(picture, intermediates_only=True)]
    maps = [F.layer_norm(y, y.shape[-1:]).permute(0, 3, 1, 2) for y in maps]
    return [(a - b).abs().max().item() for a, b in zip(ours(picture).values(), maps, strict=True)]


def pad_then_shift(block, x):
    """timm's block with the two steps in detectron2's order; the rest is timm's own code."""
    H, W = x.shape[1:3]
    window, shift = block.window_size, block.shift_size
    x = F.pad(x, (0, 0, 0, -W % window[1], 0, -H % window[0]))
    padded = x.shape[1:3]
    x = torch.roll(x, (-shift[0], -shift[1]), (1, 2)) if any(shift) else x
    windows = timm_swin.window_partition(x, window).flatten(1, 2)
    windows = block.attn(windows, mask=block.get_attn_mask(x)).unflatten(1, window)
    x = timm_swin.window_reverse(windows, window, *padded)
    return (torch.roll(x, shift, (1, 2)) if any(shift) else x)[:, :H, :W]


@pytest.mark.parametrize("size", WHOLE)
def test_timm_gives_the_same_features_where_maps_are_whole_windows(size):
    assert max(differences(*same_weights(), size)) < 1e-4


@pytest.mark.parametrize("size", BROKEN)
def test_timm_gives_the_same_features_at_any_size_without_shifts(size):
    assert max(differences(*same_weights(depths=(1, 1, 1, 1)), size)) < 1e-4


@pytest.mark.parametrize("size", BROKEN)
def test_timm_differs_at_other_sizes_and_the_order_of_padding_and_shift_is_why(size, monkeypatch):
    theirs, ours = same_weights()
    assert max(differences(theirs, ours, size)) > 1e-2
    monkeypatch.setattr(timm_swin.SwinTransformerBlock, "_attn", pad_then_shift)
    assert max(differences(theirs, ours, size)) < 1e-4


@pytest.mark.parametrize("size", BROKEN[:2])
def test_where_timm_differs_ours_is_detectron2s(size):
    timms, ours = same_weights()
    theirs = SwinTransformer(**TINY, out_indices=(0, 1, 2, 3)).eval()
    theirs.load_state_dict(ours.state_dict())
    picture = torch.randn(1, 3, *size)
    with torch.no_grad():
        for a, b in zip(ours(picture).values(), theirs(picture).values(), strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=0)
    assert max(differences(timms, ours, size)) > 1e-2


def test_with_shift_before_padding_a_token_at_the_top_sees_the_bottom():
    """What the order does: 13 rows are 14 with padding; timm's shifted windows put the first rows beside the last,
    unmasked. Ours and detectron2's keep them apart."""
    theirs, ours = same_weights(depths=(2, 1, 1, 1))
    picture = torch.randn(1, 3, 52, 52)
    changed = picture.clone()
    changed[:, :, -4:] += 1  # the bottom row of tokens
    with torch.no_grad():
        moved = [(a - b).abs().amax((0, 1, 3)) for a, b in (
            (theirs.forward_intermediates(x, indices=[0], intermediates_only=True)[0] for x in (picture, changed)),
            (ours(x)["res2"] for x in (picture, changed)))]
    assert moved[0][0] > 1e-3 and moved[1][0] == 0


def test_timms_default_drops_the_shift_of_a_map_that_is_one_window():
    """At 224 pixels the last map is one window of 7x7: only it differs, and always_partition restores the shift."""
    *first, last = differences(*same_weights(always_partition=False), (224, 224))
    assert max(first) < 1e-4 < last


@pytest.mark.parametrize("name", ["tiny", "small", "base", "large"])
def test_timms_models_by_name_have_the_tensors_of_ours_in_number_and_shape(name, monkeypatch):
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))  # drop path rates are read
    theirs = timm.create_model(f"swin_{name}_patch4_window7_224", num_classes=0, device="meta").state_dict()
    table = {"tiny": (96, 6, 3), "small": (96, 18, 3), "base": (128, 18, 4), "large": (192, 18, 6)}
    width, depth, heads = table[name]
    with torch.device("meta"):
        ours = PromptedSwin(embed_dim=width, depths=(2, 2, depth, 2), num_heads=[heads * 2 ** i for i in range(4)],
                            drop_path_rate=0.0)
    shapes = {k: v.shape for k, v in ours.state_dict().items() if not k.startswith("norm") and "index" not in k}
    # timm's stage i merges at its start what ours merges at the end of stage i - 1
    lower = {k if "downsample" not in k else f"layers.{int(k[7]) - 1}{k[8:]}": v.shape
             for k, v in theirs.items() if not k.startswith("norm.")}
    assert lower == shapes


def test_timms_swin_tiny_in_full_size_gives_the_same_features():
    theirs, ours = same_weights(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24))
    for p in theirs.parameters():
        if p.dim() > 1:
            torch.nn.init.normal_(p, std=0.05)  # 0.3 at this width is no network that anybody trains
    load_weights(ours, theirs.state_dict(), allow_partial=True)
    assert max(differences(theirs, ours, (224, 223))) < 1e-4
