"""The video object detector: the seams between its parts, streaming, gradients, parameter counts."""

from pathlib import Path

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from stpn import add_stpn_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def toy_config(*overrides, name="toy/stpn"):
    cfg = get_cfg()
    add_stpn_config(cfg)
    cfg.merge_from_file(str(CONFIGS / f"{name}.yaml"), allow_unsafe=False)
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", *overrides])
    return cfg


def toy_model(*overrides, **kwargs):
    torch.manual_seed(0)
    model = build_model(toy_config(*overrides, **kwargs))
    if getattr(model.prompt_predictor, "token_norm", None) is not None:
        model.prompt_predictor.token_norm.running_var.fill_(0.5)
    return model


def image(seed, size=(96, 96)):
    return torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def sample(seed, supports=2):
    instances = Instances((96, 96))
    instances.gt_boxes = Boxes(torch.tensor([[20.0, 24.0, 70.0, 66.0]]))
    instances.gt_classes = torch.tensor([seed % 8])
    return {"image": image(seed), "support_images": torch.stack([image(100 + seed + k) for k in range(supports)]),
            "instances": instances}


class Video:
    def __init__(self, count, seed=0, size=(96, 96)):
        self.length = count
        self.items = [{"image": image(seed + i, size), "height": 192, "width": 144} for i in range(count)]

    def __iter__(self):
        return iter(self.items)

    def select(self, indices):
        return (self.items[i] for i in indices)


def assert_same(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b):
        torch.testing.assert_close(x.pred_boxes.tensor, y.pred_boxes.tensor, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(x.scores, y.scores, atol=1e-5, rtol=1e-4)


def losses_of(model, batch):
    with EventStorage():
        torch.manual_seed(1)
        return model(batch)


@pytest.mark.parametrize("name, expected", [
    ("baseline_vid_swint", 44_895_072), ("stpn_vid_swint", 45_012_120), ("stpn_vid_swint_mixer", 44_961_798)])
def test_parameter_counts_are_the_papers(name, expected):
    model = build_model(toy_config(name=name))
    assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize("overrides", [
    (), ("MODEL.STPN.ENABLED", "False"), ("MODEL.STPN.DEEP", "True"),
    ("MODEL.STPN.PREDICTOR.NAME", "MixerPredictor", "MODEL.STPN.PREDICTOR.TOKEN_NORM", "False"),
    ("MODEL.STPN.PREDICTOR.NAME", "ReleasedTopKPredictor", "MODEL.STPN.PREDICTOR.TOKEN_NORM", "False")])
def test_losses_are_finite_and_every_trainable_parameter_gets_a_gradient(overrides):
    model = toy_model(*overrides).train()
    losses = losses_of(model, [sample(0), sample(1)])
    assert set(losses) == {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg"}
    sum(losses.values()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert without == []


def test_gradients_reach_the_support_pass_only_when_asked():
    grads = {}
    for on in (False, True):
        model = toy_model("MODEL.STPN.SUPPORT_GRAD", str(on)).train()
        model.roi_heads.box_predictor.requires_grad_(False)
        entered = []
        model.prompt_predictor.register_forward_pre_hook(lambda m, a: entered.append(a[0].requires_grad))  # noqa: B023
        sum(losses_of(model, [sample(0)]).values()).backward()
        assert entered == [on]
        assert model.prompt_predictor.query.grad.abs().sum() > 0
        grads[on] = model.backbone.patch_embed.proj.weight.grad.clone()
    assert not torch.equal(grads[False], grads[True])


def test_supports_change_the_detections_and_the_baseline_has_none():
    stpn, batch = toy_model().train(), [sample(0)]
    other = [{**batch[0], "support_images": batch[0]["support_images"].flip(-1) // 2}]
    assert losses_of(stpn, batch)["loss_cls"] != losses_of(stpn, other)["loss_cls"]
    baseline = toy_model("MODEL.STPN.ENABLED", "False").train()
    assert losses_of(baseline, batch)["loss_cls"] == losses_of(baseline, other)["loss_cls"]


@pytest.mark.parametrize("policy", ["grid", "sliding", "spread", "causal"])
def test_stream_equals_each_clip_computed_afresh(policy):
    model = toy_model("INPUT.SUPPORT.TEST_POLICY", policy, "INPUT.SUPPORT.FRAMES_PER_SIDE", "2",
                      "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0").eval()
    video = Video(8)
    for t, item, found in model.stream(video):
        clip = torch.stack([video.items[i]["image"] for i in model.sampler.test(t, 8)])
        with torch.no_grad():
            clip = (clip.float() - model.pixel_mean) / model.pixel_std
            maps = model.backbone(clip)["res5"].permute(0, 2, 3, 1)[None]
            prompts = model.prompt_predictor(maps)
        assert item is video.items[t]
        assert_same([found], [model.detect(item, prompts)])


def test_testing_returns_instances_in_pixels_of_the_original_frame():
    model = toy_model("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0").eval()
    (video,) = model([{"frames": Video(3)}])
    assert len(video) == 3
    for found in video:
        assert found.image_size == (192, 144) and len(found) > 0
        boxes = found.pred_boxes.tensor
        assert (boxes[:, 2] <= 144).all() and (boxes[:, 3] <= 192).all() and boxes.max() > 96


def test_two_videos_at_once_do_not_mix():
    model = toy_model("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0").eval()
    alone = [[f for _, _, f in model.stream(Video(7, seed))] for seed in (0, 50)]
    together = [[], []]
    for (_, _, a), (_, _, b) in zip(model.stream(Video(7, 0)), model.stream(Video(7, 50))):
        together[0].append(a), together[1].append(b)
    for x, y in zip(alone, together):
        assert_same(x, y)


def test_each_support_frame_is_embedded_once_and_prompts_serve_a_whole_stride():
    model = toy_model().eval()
    calls = {"embed": 0, "predict": 0}
    model.prompt_predictor.register_forward_hook(lambda *a: calls.update(predict=calls["predict"] + 1))
    embed = model._embed_frame
    model._embed_frame = lambda item: (calls.update(embed=calls["embed"] + 1), embed(item))[1]
    list(model.stream(Video(10)))
    stride = model.sampler.stride
    assert calls == {"embed": len(range(0, 10, stride)), "predict": len(range(0, 10, stride))}


def test_half_resolution_supports_have_half_the_map_when_testing():
    shapes = {}
    for factor in ("1.0", "0.5"):
        model = toy_model("INPUT.SUPPORT.RESIZE", factor)
        seen = []
        model.prompt_predictor.register_forward_pre_hook(lambda m, a: seen.append(a[0].shape[2:4]))  # noqa: B023
        list(model.eval().stream(Video(1, size=(128, 192))))
        shapes[factor] = tuple(seen[0])
    assert shapes == {"1.0": (4, 6), "0.5": (2, 3)}


def test_clips_of_different_lengths_in_a_batch_are_named():
    with pytest.raises(ValueError, match="support frames"):
        losses_of(toy_model().train(), [sample(0, 2), sample(1, 3)])


def test_loss_falls_on_one_sample():
    model = toy_model().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    batch, totals = [sample(0), sample(3)], []
    for _ in range(25):
        loss = sum(losses_of(model, batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < 0.5 * totals[0]
