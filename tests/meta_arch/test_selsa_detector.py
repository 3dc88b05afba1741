"""SELSA in the video object detector: training, streaming with cached support, and the plain equivalents of both."""

from pathlib import Path

import pytest
import torch
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import EventStorage

from stpn.engine.checkpoint import load_weights
from stpn.engine.config_file import load_config
from stpn.engine.model import build_model
from stpn.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SIZE = (64, 96)  # multiples of 32: nothing is padded
TINY = [
    "MODEL.WEIGHTS", "", "MODEL.DEVICE", "cpu", "MODEL.SELSA.NUM_HEADS", "4", "INPUT.SELSA.STRIDE", "3",
    "MODEL.SWIN.EMBED_DIM", "8", "MODEL.SWIN.DEPTHS", "[1,1,1,1]", "MODEL.SWIN.NUM_HEADS", "[1,1,2,2]",
    "MODEL.SWIN.WINDOW_SIZE", "3", "MODEL.STPN.PREDICTOR.NUM_HEADS", "2", "MODEL.FPN.OUT_CHANNELS", "16",
    "MODEL.ROI_BOX_HEAD.FC_DIM", "16", "MODEL.ANCHOR_GENERATOR.SIZES", "[[20],[30]]",
    "MODEL.RPN.POST_NMS_TOPK_TEST", "12", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0",
]  # fmt: skip
POLICIES = ("grid", "sliding", "spread", "causal")


def detector(*overrides, prompts=True, policy="spread"):
    torch.manual_seed(0)
    cfg = load_config(ROOT / "configs" / "toy" / "stpn_selsa.yaml",
                      [*TINY, "MODEL.STPN.ENABLED", str(prompts), "INPUT.SUPPORT.TEST_POLICY", policy,
                       "INPUT.SUPPORT.FRAMES_PER_SIDE", "2", "INPUT.SELSA.FRAMES_PER_SIDE", "2", *overrides])
    model = build_model(cfg)
    # The embeddings of so small a random network hardly differ: louder queries and values let supports show.
    for name, parameter in model.named_parameters():
        if "aggregators" in name:
            parameter.data.mul_(3)
    return model


def picture(seed, size=SIZE):
    return torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def sample(seed, size=SIZE):
    instances = Instances(size)
    instances.gt_boxes = Boxes(torch.tensor([[8.0, 6.0, 40.0, 38.0]]))
    instances.gt_classes = torch.tensor([seed % 8])
    return {"image": picture(seed, size), "instances": instances,
            "support_images": torch.stack([picture(100 + seed + k, size) for k in range(2)]),
            "selsa_images": torch.stack([picture(200 + seed + k, size) for k in range(2)])}


class Video:
    def __init__(self, count, seed=0):
        self.length = count
        self.items = [{"image": picture(seed + i), "height": 2 * SIZE[0], "width": SIZE[1]} for i in range(count)]

    def __iter__(self):
        return iter(self.items)

    def select(self, indices):
        return (self.items[i] for i in indices)


def losses_of(model, batch):
    with EventStorage():
        torch.manual_seed(1)
        return model(batch)


def assert_same(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b):
        torch.testing.assert_close(x.pred_boxes.tensor, y.pred_boxes.tensor, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(x.scores, y.scores, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def plainly(model, video, t):
    """Frame t with nothing kept from anywhere: every support frame is encoded again, with its own prompts."""
    count = video.length

    def prompts(i):
        if model.prompt_predictor is None:
            return None
        clip = torch.stack([video.items[j]["image"] for j in model.sampler.test(i, count)]).float()
        maps = model.backbone((clip - model.pixel_mean) / model.pixel_std)["res5"]
        return model.prompt_predictor(maps.permute(0, 2, 3, 1)[None])

    def pooled(i):
        image = ((video.items[i]["image"].float() - model.pixel_mean) / model.pixel_std)[None]
        features = model.neck(model.backbone(image, prompts=prompts(i)))
        proposals, _ = model.proposal_generator(ImageList(image, [SIZE]), features)
        heads = model.roi_heads
        boxes = [proposals[0].proposal_boxes]
        return proposals, heads.box_pooler([features[name] for name in heads.box_in_features], boxes)

    proposals, own = pooled(t)
    r = torch.cat([*(pooled(i)[1] for i in model.selsa_sampler.test(t, count)), own])
    x, r = own.flatten(1), r.flatten(1)
    for fc, agg in zip(model.roi_heads.box_head.fcs, model.roi_heads.box_head.aggregators):
        x, r = fc(x), fc(r)
        heads = [y.unflatten(1, (agg.num_heads, -1)).transpose(0, 1) for y in (agg.query(x), agg.key(r), agg.value(r))]
        weights = (heads[0] @ heads[1].transpose(1, 2) / heads[0].shape[-1] ** 0.5).softmax(-1)
        x, r = torch.relu(x + agg.out((weights @ heads[2]).transpose(0, 1).flatten(1))), torch.relu(r)
    predictor = model.roi_heads.box_predictor
    (found,), _ = predictor.inference(predictor(x), proposals)
    found.pred_boxes.scale(1.0, 2.0)  # original frames are twice as high
    return found


@pytest.mark.parametrize("prompts", [True, False])
@pytest.mark.parametrize("policy", POLICIES)
def test_cached_support_equals_encoding_every_support_frame_again(policy, prompts):
    model, video = detector(prompts=prompts, policy=policy).eval(), Video(9)
    results = list(model.stream(video))
    assert [t for t, _, _ in results] == list(range(9))
    for t in (0, 4, 8):
        assert len(results[t][2]) > 0
        assert_same([results[t][2]], [plainly(model, video, t)])


@pytest.mark.parametrize("policy", POLICIES)
def test_proposals_of_a_support_frame_are_embedded_once(policy):
    model, seen = detector(policy=policy).eval(), []
    embed = model._embed_proposals
    model._embed_proposals = lambda pair: (seen.append(id(pair[0])), embed(pair))[1]
    video = Video(10)
    list(model.stream(video))
    wanted = {i for t in range(10) for i in model.selsa_sampler.test(t, 10)}
    assert len(seen) == len(set(seen)) and {id(video.items[i]) for i in wanted} <= set(seen)


def test_spread_gives_prompts_and_proposals_from_different_frames():
    model = detector("INPUT.SUPPORT.FRAMES_PER_SIDE", "7", "INPUT.SELSA.FRAMES_PER_SIDE", "7")
    aggregated, prompting = model.selsa_sampler.test(0, 28), model.sampler.test(0, 28)
    assert aggregated == list(range(0, 28, 2)) and prompting == list(range(1, 28, 2))
    alone = detector("INPUT.SELSA.FRAMES_PER_SIDE", "7", prompts=False)
    assert alone.selsa_sampler.test(0, 14) == list(range(14))


def test_released_split_takes_seven_frames_for_each_use():
    model = detector("INPUT.SUPPORT.SPREAD_FRAMES", "7", "INPUT.SELSA.SPREAD_FRAMES", "7")
    assert model.selsa_sampler.test(0, 14) == list(range(0, 14, 2))
    assert model.sampler.test(0, 14) == list(range(1, 14, 2))


def test_causal_never_looks_ahead():
    model = detector(policy="causal").eval()
    whole = [found for _, _, found in model.stream(Video(8))]
    assert_same(whole[:5], [found for _, _, found in model.stream(Video(5))])


def test_two_videos_at_once_do_not_mix():
    model = detector(policy="grid").eval()
    alone = [[f for _, _, f in model.stream(Video(6, seed))] for seed in (0, 50)]
    together = [[], []]
    for (_, _, a), (_, _, b) in zip(model.stream(Video(6, 0)), model.stream(Video(6, 50))):
        together[0].append(a), together[1].append(b)
    for x, y in zip(alone, together):
        assert_same(x, y)


def test_aggregated_frames_and_prompts_both_change_the_result():
    model, batch = detector().train(), [sample(0)]
    loss = losses_of(model, batch)["loss_cls"]
    for name in ("support_images", "selsa_images"):
        other = [{**batch[0], name: 255 - batch[0][name]}]
        assert losses_of(model, other)["loss_cls"] != loss, name


@pytest.mark.parametrize("overrides", [
    (), ("MODEL.STPN.DEEP", "True"), ("MODEL.STPN.ENABLED", "False"),
    ("MODEL.STPN.PREDICTOR.NAME", "MixerPredictor", "MODEL.STPN.PREDICTOR.TOKEN_NORM", "False")])
def test_every_trainable_parameter_gets_a_gradient(overrides):
    model = detector(*overrides).train()
    losses = losses_of(model, [sample(0), sample(1)])
    assert set(losses) == {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg"}
    sum(losses.values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert model.proposal_generator.training and model.backbone.training


def test_every_parameter_gets_a_gradient_where_no_support_frame_has_a_proposal():
    """Processes that train together wait for the gradient of each parameter: one left out ended the job."""
    model = detector().train()
    pool = model.roi_heads._pool
    model.roi_heads.embed = lambda features, proposals: [
        model.roi_heads.box_head.support(pooled[:0]) for pooled in pool(features, proposals)]
    losses = losses_of(model, [sample(0)])
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_gradients_flow_through_the_aggregated_frames():
    model = detector().train()
    batch = [sample(0)]
    clips = model._frames_to_detect(batch).requires_grad_()
    model._frames_to_detect = lambda _: clips
    losses_of(model, batch)["loss_cls"].backward()
    assert all(clips.grad[0, k].abs().sum() > 0 for k in range(3))  # the key frame and both others


def nothing_sampled(**kwargs):
    """Without random draws in RPN and heads, so that a batch can be compared with its samples."""
    return detector("MODEL.RPN.BATCH_SIZE_PER_IMAGE", "4096", "MODEL.RPN.POSITIVE_FRACTION", "1.0",
                    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "4096", "MODEL.ROI_HEADS.POSITIVE_FRACTION", "1.0",
                    "MODEL.STPN.PREDICTOR.TOKEN_NORM", "False", **kwargs)


def test_samples_of_a_batch_do_not_aggregate_each_other():
    model = nothing_sampled().train()
    seen = []
    model.roi_heads.box_head.register_forward_hook(lambda m, inputs, out: seen.append(out))
    with torch.no_grad():
        losses_of(model, [sample(0), sample(1)])
        together = list(seen)
        seen.clear()
        losses_of(model, [sample(0)]), losses_of(model, [sample(1)])
    assert len(together) == len(seen) == 2
    for a, b in zip(together, seen):  # proposals are shuffled
        torch.testing.assert_close(a[a.sum(1).argsort()], b[b.sum(1).argsort()], atol=1e-4, rtol=1e-4)


def test_loss_falls_on_one_sample():
    model = detector().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    totals = []
    for _ in range(30):
        loss = sum(losses_of(model, [sample(0)]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < 0.6 * totals[0]


@pytest.mark.parametrize("overrides, message", [
    (("INPUT.SELSA.TRAIN_FRAMES", "0"), "INPUT.SELSA.TRAIN_FRAMES is 0"),
    (("MODEL.ROI_HEADS.NAME", "StandardROIHeads", "MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead"),
     "set MODEL.ROI_HEADS.NAME"),
    (("MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES", "True"), "boxes only"),
    (("MODEL.ROI_BOX_HEAD.NUM_CONV", "1"), "NUM_CONV to 0"),
    (("MODEL.ROI_BOX_HEAD.NUM_FC", "0"), "NUM_FC to at least 1"),
    (("MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead"), "set MODEL.ROI_BOX_HEAD.NAME to SelsaBoxHead"),
    (("MODEL.ROI_HEADS.NAME", "StandardROIHeads"), "set MODEL.ROI_HEADS.NAME to SelsaROIHeads"),
    (("MODEL.META_ARCHITECTURE", "VideoObjectDetector"), "set MODEL.META_ARCHITECTURE to SelsaDetector"),
    (("MODEL.META_ARCHITECTURE", "VideoObjectDetector", "MODEL.ROI_HEADS.NAME", "StandardROIHeads"),
     "or MODEL.ROI_HEADS.NAME to StandardROIHeads and MODEL.ROI_BOX_HEAD.NAME to FastRCNNConvFCHead"),
    (("MODEL.SELSA.NUM_HEADS", "5"), "MODEL.SELSA.NUM_HEADS")])
def test_settings_that_do_not_fit_are_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        detector(*overrides)


def test_training_may_start_from_a_plain_detector_but_not_testing():
    plain = detector("MODEL.META_ARCHITECTURE", "VideoObjectDetector", "MODEL.ROI_HEADS.NAME", "StandardROIHeads",
                     "MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead")
    model = detector()
    report = load_weights(model, plain.state_dict(), scope="parts")
    assert report.fresh == ["roi_heads.box_head.aggregators"] and len(report.missing) == 16
    with pytest.raises(InputError, match="it has nothing for roi_heads.box_head.aggregators"):
        load_weights(model, plain.state_dict())
