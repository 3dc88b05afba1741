"""VideoObjectTracker and its Tracker: the recorded MixFormer, a slow plain tracker, what causal prompting promises."""

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage
from tiny_vot import frames_of, moving_square, sample, vot_config, vot_model

from stpn.crops import box_in_image, clip_box, crop_square
from stpn.errors import InputError
from stpn.prompting import PastSampler


def losses_of(model, batch):
    with EventStorage():
        return model.train()(batch)


def run(model, images, box):
    tracker = model.tracker()
    return [tracker.initialize(images[0], box), *(tracker.track(image) for image in images[1:])]


def test_without_prompts_it_is_the_recorded_mixformer(fixtures_dir):
    folder = fixtures_dir / "vot" / "tiny"
    weights = torch.load(folder / "state_dict.pt", weights_only=True)
    case = torch.load(folder / "joint.pt", weights_only=True)
    model = vot_model("MODEL.STPN.ENABLED", "False", "MODEL.MIXFORMER.HEAD_FREEZE_BN", "True")
    left = model.load_state_dict(weights, strict=False)
    assert left.missing_keys == []
    assert all(key.startswith(("backbone.norm.", "backbone.head.")) or key.endswith("num_batches_tracked")
               for key in left.unexpected_keys)
    with torch.no_grad():
        templates = model.backbone.embed_templates(torch.stack([case["template"], case["online_template"]], 1))
        search = model.backbone(case["search"], templates=templates)["res4"]
        boxes = model.box_head(search)
        scores = model.score(search, templates, boxes)
    torch.testing.assert_close(boxes, case["pred_xyxy"], atol=1e-4, rtol=0)
    torch.testing.assert_close(scores, case["pred_scores"].sigmoid(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("t, expected", [(1, [0]), (8, [0]), (9, [0, 8]), (16, [0, 8]), (17, [0, 8, 16]),
                                         (64, [0, 8, 16, 24, 32, 40, 48, 56]), (65, [0, 16, 24, 32, 40, 48, 56, 64])])
def test_support_table_by_hand(t, expected):
    assert PastSampler().test(t) == expected


@pytest.mark.parametrize("t, keep, expected", [(2, True, [0]), (2, False, [0]), (3, False, [0]), (7, True, [0, 1, 4]),
                                               (7, False, [1, 4]), (20, True, [0, 14, 17])])
def test_sliding_supports_by_hand(t, keep, expected):
    assert PastSampler(frames=2, stride=3, anchor="sliding", keep_first=keep).test(t) == expected


def test_training_supports_lie_before_the_search_frame_or_mirrored_after_it():
    sampler = PastSampler(stride=8, train_frames=2)
    assert [sampler.train(t, 40) for t in (20, 10, 3)] == [[12, 4], [2, 0], [0, 0]]
    assert [sampler.train(t, 40, after=True) for t in (20, 30, 39)] == [[28, 36], [38, 39], [39, 39]]


class PlainTracker:
    """The same by the book: nothing is kept but crops, and everything is encoded again for every frame."""

    def __init__(self, model, image, box):
        self.model, self.settings, self.box, self.t = model, model.settings, list(box), 0
        self.first = self.crop(image, box, "template")
        self.online, self.at, self.best, self.best_score = [self.first], 0, self.first, -1.0
        self.seen = {0: (self.crop(image, box, "search"), [self.first, self.first])}

    def crop(self, image, box, kind):
        size, factor = ((self.settings.search_size, self.settings.search_factor) if kind == "search" else
                        (self.settings.template_size, self.settings.template_factor))
        return torch.from_numpy(crop_square(image, box, factor=factor, size=size)[0]).permute(2, 0, 1)

    def encode(self, crop, templates, prompts=None):
        model = self.model
        known = model.backbone.embed_templates(model.clips([torch.stack(templates)]))
        return model.backbone(model.images([crop]).tensor, prompts=prompts, templates=known)["res4"], known

    def supports(self):
        K, S = self.model.sampler.frames, self.model.sampler.stride
        m = (self.t - 1) // S
        return sorted({S * (m - j) for j in range(K) if m - j >= 0} | {0})

    def track(self, image):
        self.t += 1
        crop = self.crop(image, self.box, "search")
        templates = [self.first, *self.online]
        maps = [self.encode(*self.seen[i])[0][0].permute(1, 2, 0) for i in self.supports()]
        prompts = self.model.prompt_predictor(torch.stack(maps)[None])
        features, known = self.encode(crop, templates, prompts)
        x1, y1, x2, y2 = self.model.box_head(features)[0].tolist()
        score = self.model.score(features, known, torch.tensor([[x1, y1, x2, y2]])).item()
        self.seen[self.t] = crop, templates
        scale = crop_square(image, self.box, factor=self.settings.search_factor, size=self.settings.search_size)[1]
        box = box_in_image(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), self.box, scale=scale,
                           size=self.settings.search_size)
        self.box = clip_box(box, *image.shape[:2])
        self.best_score *= self.settings.score_decay
        if score > self.settings.update_score and score > self.best_score:
            self.best_score, self.best = score, self.crop(image, self.box, "template")
        if self.t % self.settings.update_interval == 0:
            if len(self.online) < self.settings.online_templates:
                self.online.append(self.best)
            else:
                self.online[self.at] = self.best
                self.at = (self.at + 1) % len(self.online)
            self.best, self.best_score = self.first, -1.0
        return self.box, score


@torch.no_grad()
def test_kept_templates_and_supports_equal_encoding_everything_again():
    model, (images, boxes) = vot_model(), moving_square(16)
    plain = PlainTracker(model, images[0], boxes[0])
    for found, image in zip(run(model, images, boxes[0])[1:], images[1:], strict=True):
        box, score = plain.track(image)
        np.testing.assert_allclose(found.box, box, atol=1e-3)
        assert found.score == pytest.approx(score, abs=1e-4)


def test_what_comes_later_changes_nothing_before_bit_by_bit():
    model, (images, boxes) = vot_model(), moving_square(12)
    before = run(model, images, boxes[0])
    for t in (1, 4, 8):
        changed = [*images[:t + 1], *(255 - image for image in images[t + 1:])]
        after = run(model, changed, boxes[0])
        assert after[:t + 1] == before[:t + 1]
        assert after[t + 1:] != before[t + 1:]


def test_prompts_are_predicted_anew_exactly_when_the_supports_change():
    model, (images, boxes) = vot_model(), moving_square(12)
    predicted, tracker = [], model.tracker()
    model.prompt_predictor.register_forward_hook(lambda *_: predicted.append(t))
    tracker.initialize(images[0], boxes[0])
    for t, image in enumerate(images[1:], 1):  # noqa: B007  the hook reads it
        tracker.track(image)
    assert predicted == [1, 4, 7, 10]  # S = 3


@pytest.mark.parametrize("source, calls", [("memory", 1 + 12 // 3), ("prompted_memory", 1), ("templates", 0)])
def test_number_of_passes_without_prompts(source, calls):
    model, (images, boxes) = vot_model("INPUT.SUPPORT.SOURCE", source), moving_square(13)
    prompted = []
    model.backbone.register_forward_hook(lambda _, args, kwargs, out: prompted.append(kwargs.get("prompts")),
                                         with_kwargs=True)
    run(model, images, boxes[0])
    assert (sum(p is None for p in prompted), sum(p is not None for p in prompted)) == (calls, 12)


def test_templates_keep_their_keys_and_values_whatever_the_prompts():
    model = vot_model()
    batch = model.clips([sample()["templates"]])
    search, prompts = model.images([sample()["image"]]).tensor, [torch.randn(1, 5, 16)]
    known = model.backbone.embed_templates(batch)
    copies = [part.clone() for context in known.contexts for part in context]
    plain, prompted = (model.backbone(search, prompts=p, templates=known)["res4"] for p in (None, prompts))
    assert not torch.equal(plain, prompted)
    again = model.backbone.embed_templates(batch)
    for before, after in zip(copies, (part for context in again.contexts for part in context), strict=True):
        assert torch.equal(before, after)


def test_two_trackers_in_turn_do_not_mix():
    model = vot_model()
    videos = [moving_square(10, seed=seed) for seed in (0, 1)]
    apart = [run(model, images, boxes[0]) for images, boxes in videos]
    trackers = [model.tracker() for _ in videos]
    together = [[tracker.initialize(images[0], boxes[0])]
                for tracker, (images, boxes) in zip(trackers, videos, strict=True)]
    for t in range(1, 10):
        for found, tracker, (images, _) in zip(together, trackers, videos, strict=True):
            found.append(tracker.track(images[t]))
    assert together == apart


def test_a_second_target_does_not_change_the_first():
    model, (images, boxes) = vot_model(), moving_square(6)
    other = [40.0, 5.0, 15.0, 25.0]
    both = list(model.stream(frames_of(images), [boxes[0], other]))
    for t, _, found in both:
        assert found.image_size == images[t].shape[:2] and found.pred_ids.tolist() == [0, 1]
    for i, box in enumerate((boxes[0], other)):
        alone = run(model, images, box)
        for (_, _, found), track in zip(both, alone, strict=True):
            x, y, w, h = track.box
            np.testing.assert_allclose(found.pred_boxes.tensor[i], [x, y, x + w, y + h], rtol=1e-6)
            assert found.scores[i].item() == pytest.approx(track.score)


def test_memory_does_not_grow_with_the_video():
    model, (images, boxes) = vot_model(), moving_square(10)
    tracker, sizes = model.tracker(), []
    tracker.initialize(images[0], boxes[0])
    for t in range(60):
        tracker.track(images[t % 10])
        sizes.append(len(tracker._memory._cache))
    assert max(sizes) == sizes[-1] == 2 + 1 + 1  # K, the first frame, and one that is about to go


def test_a_sequence_of_one_frame_gives_its_box():
    images, boxes = moving_square(1)
    found = vot_model().follow(frames_of(images), boxes[0])
    assert found["boxes"].tolist() == [list(boxes[0])] and found["times"].shape == found["scores"].shape == (1,)


def test_testing_gives_what_the_tracker_gives():
    model, (images, boxes) = vot_model(), moving_square(5)
    (found,) = model([{"frames": frames_of(images), "box": boxes[0]}])
    tracks = run(model, images, boxes[0])
    assert found["boxes"].tolist() == [track.box for track in tracks]
    assert found["scores"].tolist() == [track.score for track in tracks] and (found["times"] > 0).all()


def test_without_a_score_head_scores_are_unknown_and_templates_stay():
    model, (images, boxes) = vot_model("MODEL.MIXFORMER.SCORE_HEAD", "False"), moving_square(9)
    calls = []
    model.backbone.embed_templates = lambda x, own=model.backbone.embed_templates: calls.append(1) or own(x)
    assert {track.score for track in run(model, images, boxes[0])} == {None} and len(calls) == 1
    (_, _, found), *_ = model.stream(frames_of(images[:1]), [boxes[0]])
    assert found.scores.isnan().all() and not found.pred_lost.any()


def test_the_box_scales_with_a_frame_that_changes_its_size():
    model, (images, boxes) = vot_model(), moving_square(4)
    tracker = model.tracker()
    tracker.initialize(images[0], boxes[0])
    tracker._fit((120, 240))
    assert tracker._box == [boxes[0][0] * 3, boxes[0][1] * 2, 60.0, 40.0]
    x, y, w, h = tracker.track(np.zeros((120, 240, 3), np.uint8)).box
    assert 0 <= x <= 240 and 0 <= y <= 120 and w >= 10 and h >= 10


@pytest.mark.parametrize("box, said", [([0, 0, 0, 5], "above 0"), ([0, 0, -3, 5], "above 0"),
                                       ([float("nan"), 0, 3, 5], "finite"), ([80, 0, 3, 5], "outside the frame"),
                                       ([-9, 0, 9, 5], "outside the frame"), ([1, 2, 3], "four")])
def test_boxes_that_show_nothing_are_refused(box, said):
    with pytest.raises(InputError, match=said):
        vot_model().tracker().initialize(moving_square(1)[0][0], box)


def test_a_target_that_cannot_be_begun_leaves_what_was_tracked_as_it_is():
    model, (images, boxes) = vot_model(), moving_square(4)
    expected = run(model, images, boxes[0])
    tracker = model.tracker()
    found = [tracker.initialize(images[0], boxes[0]), tracker.track(images[1])]
    with pytest.raises(InputError):
        tracker.initialize(np.zeros((120, 160, 3), np.uint8), [500, 500, 5, 5])
    for image in (images[2][..., 0], images[2] / 255):
        with pytest.raises(InputError, match="uint8"):
            tracker.track(image)
    assert [*found, *map(tracker.track, images[2:])] == expected


def test_supports_are_measured_without_stochastic_depth_in_training():
    model, supports = vot_model("MODEL.CVT.DROP_PATH_RATES", "[0.0, 0.0, 0.9]").train(), []
    model.prompt_predictor.register_forward_pre_hook(lambda _, args: supports.append(args[0]))
    for seed in (0, 1):
        torch.manual_seed(seed)
        losses_of(model, [sample(0), sample(1)])
    assert torch.equal(*supports)
    model.eval()
    crops = model.clips([sample(0)["templates"], sample(1)["templates"]])
    clips = model.clips([sample(0)["support_images"], sample(1)["support_images"]])
    with torch.no_grad():
        tested = [model.backbone(clips[i], templates=model.backbone.embed_templates(crops[[i, i]]))["res4"]
                  for i in range(2)]
    torch.testing.assert_close(supports[0], torch.stack(tested).permute(0, 1, 3, 4, 2), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("enabled, source, count", [("True", "memory", 1), ("True", "templates", 0),
                                                    ("False", "memory", 0)])
def test_support_frames_are_told_only_where_there_are_some(enabled, source, count):
    model = vot_model("MODEL.STPN.ENABLED", enabled, "INPUT.SUPPORT.SOURCE", source)
    assert len(model.support_samplers()) == count


def test_tracking_before_initialize_says_what_to_do():
    with pytest.raises(RuntimeError, match="initialize"):
        vot_model().tracker().track(moving_square(1)[0][0])


def test_weights_of_nan_are_told_and_not_tracked():
    model, (images, boxes) = vot_model(), moving_square(2)
    torch.nn.init.constant_(model.box_head.conv5_tl.bias, float("nan"))
    with pytest.raises(FloatingPointError, match="frame 1"):
        run(model, images, boxes[0])


def test_first_stage_trains_all_but_the_score_head():
    model = vot_model()
    losses = losses_of(model, [sample(0), sample(1)])
    assert set(losses) == {"loss_ciou", "loss_l1"}
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith("score_branch."), name
    assert model.prompt_predictor.project.weight.grad.abs().max() > 0


def test_second_stage_trains_the_score_head_alone_and_the_rest_measures():
    model = vot_model("MODEL.MIXFORMER.STAGE", "score", "MODEL.STPN.PREDICTOR.TOKEN_NORM", "True")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = losses_of(model, [sample(0), sample(1, present=0.0)])
    assert set(losses) == {"loss_score"}
    losses["loss_score"].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == name.startswith("score_branch."), name
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name  # no running statistic has moved


@pytest.mark.parametrize("grad", [False, True])
def test_support_frames_have_a_gradient_only_where_it_is_asked_for(grad):
    model = vot_model("MODEL.STPN.SUPPORT_GRAD", str(grad))
    batch = sample()
    batch["support_images"] = batch["support_images"].float().requires_grad_()
    sum(losses_of(model, [batch]).values()).backward()
    assert (batch["support_images"].grad is not None) == grad


def test_loss_falls_on_one_sample():
    model = vot_model(seed=1)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    batch, history = [sample(0), sample(1)], []
    for _ in range(25):
        loss = sum(losses_of(model, batch).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < history[0] / 2


def test_smaller_supports_change_prompts_and_cost_and_nothing_else():
    whole, half = (vot_model("INPUT.SUPPORT.RESIZE", resize) for resize in ("1.0", "0.5"))
    images, boxes = moving_square(5)
    sizes = []
    half.backbone.register_forward_hook(lambda _, args, out: sizes.append(args[0].shape[-1]))
    assert run(whole, images, boxes[0]) != run(half, images, boxes[0])
    assert sizes == [32, 64, 64, 64, 32, 64]  # frames 0 and 3 are supports


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("stage", ["box", "score"])
def test_mixed_precision_gives_nearly_the_same_losses(stage, dtype):
    model, batch = vot_model("MODEL.MIXFORMER.STAGE", stage), [sample(0), sample(1, present=0.0)]
    full = losses_of(model, batch)
    with torch.autocast("cpu", dtype=dtype):
        mixed = losses_of(model, batch)
    for name, loss in full.items():
        assert mixed[name].item() == pytest.approx(loss.item(), rel=0.02)


@pytest.mark.parametrize("key, value, said", [
    ("MODEL.MIXFORMER.STAGE", "boxes", "STAGE"), ("INPUT.SUPPORT.SOURCE", "frames", "SOURCE"),
    ("INPUT.SUPPORT.TEST_POLICY", "grid", "causal"), ("INPUT.SUPPORT.ANCHOR", "free", "anchor"),
    ("INPUT.TRACKING.SEARCH_SIZE", "100", "multiple of 16"), ("INPUT.FORMAT", "BGR", "RGB"),
    ("MODEL.BACKBONE.NAME", "PromptedSwin", "PromptedCvT"), ("INPUT.SUPPORT.RESIZE", "0.66", "multiple of 16"),
    ("TEST.TRACKING.UPDATE_INTERVAL", "0", "at least 1"), ("TEST.TRACKING.SEARCH_FACTOR", "0.0", "1 to 20"),
    ("TEST.TRACKING.SEARCH_FACTOR", "1000.0", "1 to 20"), ("INPUT.TRACKING.TEMPLATE_FACTOR", "0.5", "1 to 20"),
    ("TEST.TRACKING.LOST_SCORE", "7.0", "0 to 1"), ("TEST.TRACKING.SCORE_DECAY", "-3.0", "0 to 1"),
])
def test_wrong_settings_are_named(key, value, said):
    with pytest.raises(ValueError, match=said):
        vot_model(key, value)


def test_a_size_of_supports_that_does_not_act_is_refused():
    with pytest.raises(ValueError, match="SOURCE to memory"):
        vot_model("INPUT.SUPPORT.RESIZE", "0.5", "INPUT.SUPPORT.SOURCE", "prompted_memory")


def test_one_seed_gives_both_arms_the_same_heads_and_encoder():
    prompted, plain = (vot_model("MODEL.STPN.ENABLED", enabled).state_dict() for enabled in ("True", "False"))
    assert set(plain) < set(prompted) and all(torch.equal(plain[name], prompted[name]) for name in plain)
    assert vot_config().MODEL.STPN.ENABLED
