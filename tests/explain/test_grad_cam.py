"""Grad-CAM against autograd on a plain forward, and on the trained toy detector."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from detectron2.structures import ImageList

from stpn.data.toy import render_video
from stpn.encoders import PromptedCvT, PromptedSwin
from stpn.engine.checkpoint import load_weights
from stpn.engine.config_file import load_config
from stpn.engine.model import build_model
from stpn.errors import InputError
from stpn.explain import Target, class_score, grad_cam

ROOT = Path(__file__).resolve().parents[2]


def encoder_alone(backbone):
    """A model of nothing but an encoder."""
    return SimpleNamespace(backbone=backbone.eval(), images=lambda images: ImageList.from_tensors(
        [image.float() for image in images], 32))


def swin(**more):
    torch.manual_seed(0)
    return encoder_alone(PromptedSwin(embed_dim=8, depths=(1, 2, 1, 1), num_heads=(1, 1, 1, 1), window_size=3, **more))


def plain_cam(tokens, gradient, size, shape):
    """Channel by channel."""
    maps = [gradient[:, c].mean() * tokens[:, c] for c in range(tokens.shape[1])]
    cam = torch.stack(maps).sum(0).clamp(min=0).view(1, 1, *size)
    cam = torch.nn.functional.interpolate(cam, [32 * -(-side // 32) for side in shape], mode="bilinear")[0, 0]
    cam = cam[:shape[0], :shape[1]]
    return cam / cam.max()


@pytest.mark.parametrize("prompted", [False, True])
def test_a_stage_in_the_middle_equals_autograd_on_a_plain_forward(prompted):
    """One that is no output: the blocks behind it are run again from its last block's tokens, written out."""
    model, image = swin(drop_path_rate=0.0, out_features=("res5",)), torch.rand(3, 41, 70)
    prompts = [torch.randn(1, 2, 8)] if prompted else None
    found, value = grad_cam(model, {"image": image}, score=lambda f: f["res5"].square().sum(), stages=["res3"],
                            prompts=prompts)
    first, second, third, last = model.backbone.layers
    x, size = model.backbone.patch_embed(model.images([image]).tensor), (16, 24)
    x = torch.cat([x.flatten(1, 2), *(prompts or [])], 1)
    P = x.shape[1] - 16 * 24
    x = first.downsample(first.blocks[0](x, size, keep=P), size)
    for block in second.blocks:
        x = block(x, (8, 12), keep=P)
    kept = x.detach().requires_grad_()
    x = third.downsample(third.blocks[0](second.downsample(kept, (8, 12)), (4, 6), keep=P), (4, 6))
    score = model.backbone.norm3(last.blocks[0](x, (2, 3), keep=0)).square().sum()
    (gradient,) = torch.autograd.grad(score, kept)
    torch.testing.assert_close(found["res3"], plain_cam(kept[0, :96].detach(), gradient[0, :96], (8, 12), (41, 70)))
    assert value == pytest.approx(score.item(), rel=1e-4)


def test_an_output_of_the_encoder_counts_as_the_heads_read_it():
    model, image = swin(drop_path_rate=0.0), torch.rand(3, 64, 96)
    found, _ = grad_cam(model, {"image": image}, score=lambda f: (f["res3"] ** 3).sum() + f["res5"].sum(),
                        stages=["res3"])
    with torch.no_grad():
        read = model.backbone(image[None])["res3"][0].flatten(1).T
    torch.testing.assert_close(found["res3"], plain_cam(read, 3 * read ** 2, (8, 12), (64, 96)))


def test_several_stages_at_once_are_each_as_alone_and_frozen_encoders_are_shown_too():
    model, item = swin(freeze_at=4), {"image": torch.rand(3, 40, 64)}
    model.backbone.requires_grad_(False)

    def score(features):
        return sum(f.abs().mean() for f in features.values())

    together, _ = grad_cam(model, item, score=score, stages=["res2", "res5"])
    for stage in together:
        torch.testing.assert_close(together[stage], grad_cam(model, item, score=score, stages=[stage])[0][stage])
        assert together[stage].shape == (40, 64) and together[stage].min() >= 0 and together[stage].max() == 1
    assert not any(module._forward_hooks for module in model.backbone.modules())


def test_a_cvt_has_maps_of_its_stages():
    torch.manual_seed(0)
    model = encoder_alone(PromptedCvT(widths=(8, 16, 32), depths=(1, 1, 2), num_heads=(1, 1, 1)))
    cams, _ = grad_cam(model, {"image": torch.rand(3, 32, 64)}, score=lambda f: f["res4"].square().sum(),
                       stages=["res2", "res4"])
    assert all(cam.shape == (32, 64) and cam.max() == 1 for cam in cams.values())


def test_stages_that_are_not_there_or_not_read_are_refused():
    model, item = swin(), {"image": torch.rand(3, 32, 32)}
    with pytest.raises(InputError, match="res2, res3, res4, res5"):
        grad_cam(model, item, score=lambda f: f["res5"].sum(), stages=["res9"])
    with pytest.raises(InputError, match="res5 does not reach"):
        grad_cam(model, item, score=lambda f: f["res4"].sum(), stages=["res5"])


def test_the_trained_toy_detector_looks_at_the_object():
    cfg = load_config(str(ROOT / "configs/toy/baseline.yaml"))
    model = build_model(cfg).eval()
    load_weights(model, cfg.MODEL.WEIGHTS)
    inside = []
    for number in range(4):
        video = render_video(3, "val", number)
        t = video.deterioration.index("clean")
        _, label, x1, y1, x2, y2 = video.boxes[t][0]
        item = {"image": torch.from_numpy(video.frames[t].transpose(2, 0, 1).copy()), "height": 96, "width": 96}
        frame = SimpleNamespace(item=item, aggregated=None)
        score = class_score(model, frame, Target([x1, y1, x2, y2], label))
        cam = grad_cam(model, item, score=score, stages=["res4"])[0]["res4"]
        inside.append((cam[y1:y2 + 1, x1:x2 + 1].mean() / cam.mean()).item())
    assert min(inside) > 1.5, inside
