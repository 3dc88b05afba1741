"""The video instance segmenter: equal to the recorded MinVIS, the same in any windows, on line and off line."""

import json

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage
from pycocotools import mask as coco_mask
from tiny_vis import Frames, official_model, random_frames, training_sample, vis_config, vis_model

from stpn.engine.model import build_model
from stpn.errors import InputError
from stpn.heads import TrackMemory


def decoded(track, size):
    """RLE or None per frame -> (T, H, W) bool."""
    return np.stack([coco_mask.decode(rle).astype(bool) if rle else np.zeros(size, bool) for rle in track])


@pytest.fixture(scope="module")
def recorded(fixtures_dir):
    load = lambda name: torch.load(fixtures_dir / "vis" / f"inference_{name}.pt", weights_only=True)  # noqa: E731
    video = load("input")
    return official_model(fixtures_dir), Frames(video["image"], (video["height"], video["width"])), load("raw"), \
        load("output")


def test_encoder_and_head_equal_the_recorded_minvis(recorded):
    model, frames, raw, _ = recorded
    with torch.no_grad():
        features = model.backbone(raw["padded_images"])
        mask_features, levels = model.sem_seg_head.pixel_decoder(features)
        found = model.sem_seg_head.predictor.train()(levels, mask_features)
    model.eval()
    for name, value in raw["backbone"].items():
        torch.testing.assert_close(features[name], value, atol=2e-5, rtol=0)
    torch.testing.assert_close(mask_features, raw["mask_features"], atol=2e-5, rtol=0)
    for ours, theirs in zip(levels, raw["multi_scale_features"], strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)
    torch.testing.assert_close(found["pred_embeds"], raw["pred_embds"][0].permute(1, 2, 0), atol=2e-5, rtol=0)
    assert len(found["aux_outputs"]) == len(raw["aux_outputs"]) == 3
    for ours, theirs in zip([*found["aux_outputs"], found], [*raw["aux_outputs"], raw], strict=True):
        torch.testing.assert_close(ours["pred_logits"], theirs["pred_logits"][0], atol=5e-5, rtol=0)
        torch.testing.assert_close(ours["pred_masks"], theirs["pred_masks"][0].transpose(0, 1), atol=1e-4, rtol=0)


def test_final_tracks_equal_the_recorded_ones_as_a_set(recorded):
    model, frames, _, wanted = recorded
    (found,) = model([{"frames": frames}])
    assert found["image_size"] == tuple(wanted["image_size"])
    ours = zip(found["pred_scores"], found["pred_labels"], found["pred_masks"], strict=True)
    ours = sorted(ours, key=lambda r: -r[0])
    masks = wanted["pred_masks"].numpy()
    theirs = sorted(zip(wanted["pred_scores"], wanted["pred_labels"], masks, strict=True), key=lambda r: -r[0])
    assert len(ours) == len(theirs) == 10
    for (score, label, mask), (their_score, their_label, their_mask) in zip(ours, theirs, strict=True):
        assert score == pytest.approx(float(their_score), abs=1e-5)
        assert label == int(their_label)
        assert (decoded(mask, found["image_size"]) != their_mask).mean() <= 1e-3


def test_rle_results_equal_the_recorded_results_file(recorded, fixtures_dir):
    model, frames, _, _ = recorded
    found = model.segment(frames)
    wanted = json.loads((fixtures_dir / "vis" / "inference_results.json").read_text())
    areas = sorted(round(sum(coco_mask.area(rle) for rle in r["segmentations"] if rle)) for r in wanted)
    ours = sorted(int(sum(coco_mask.area(rle) for rle in track if rle)) for track in found["pred_masks"])
    np.testing.assert_allclose(ours, areas, rtol=1e-3, atol=5)


def flat(result):
    return result["pred_ids"], result["pred_labels"], result["pred_masks"]


@pytest.mark.parametrize("policy", ["grid", "sliding", "spread", "causal"])
def test_windows_of_any_length_give_the_same_video_result(policy):
    model = vis_model("INPUT.SUPPORT.TEST_POLICY", policy, "INPUT.SUPPORT.STRIDE", "2",
                      "INPUT.SUPPORT.FRAMES_PER_SIDE", "2")
    frames = random_frames(9)
    whole = model.segment(frames, window=9)
    for window in (1, 2, 4):
        part = model.segment(frames, window=window)
        assert flat(part) == flat(whole)
        assert part["pred_scores"] == pytest.approx(whole["pred_scores"], abs=1e-5)


def test_stream_in_windows_equals_frame_by_frame():
    model, frames = vis_model("INPUT.SUPPORT.STRIDE", "2"), random_frames(7)
    single, windows = list(model.stream(frames)), list(model.stream(frames, window=3))
    assert [t for t, _, _ in windows] == list(range(7))
    for (_, item, a), (_, other, b) in zip(single, windows, strict=True):
        assert item is other
        assert a.pred_ids.tolist() == b.pred_ids.tolist()
        assert torch.equal(a.pred_masks, b.pred_masks)
        torch.testing.assert_close(a.scores, b.scores, atol=1e-5, rtol=0)


def test_stream_after_the_last_frame_has_the_scores_and_masks_of_the_whole_video():
    model, frames = vis_model("TEST.SCORE_HORIZON", "0"), random_frames(6)
    result = model.segment(frames)
    *_, (_, _, last) = model.stream(frames)
    for track, score, label, mask in zip(*(getattr(last, f) for f in ("pred_ids", "scores", "pred_classes",
                                                                      "pred_masks")), strict=True):
        rows = [i for i, other in enumerate(result["pred_ids"])
                if other == track.item() and result["pred_labels"][i] == label.item()]
        if rows:  # else another class of another track came before it
            assert result["pred_scores"][rows[0]] == pytest.approx(score.item(), abs=1e-6)
            assert (decoded(result["pred_masks"][rows[0]], (50, 61))[-1] != mask.numpy()).mean() <= 1e-3
    assert set(result["pred_ids"]) & set(last.pred_ids.tolist())


def test_masks_kept_in_the_file_equal_masks_kept_whole():
    model, frames = vis_model("MODEL.STPN.ENABLED", "False", seed=3), random_frames(4, frame=(33, 37))
    result = model.segment(frames)
    memory, whole = TrackMemory(), []
    for item, padded, found in model._walk(frames, None, None):
        order = memory.add(found["pred_logits"], found["pred_embeds"])
        whole.append(model._full_size(found["pred_masks"][order], item, padded))
    whole = torch.stack(whole).numpy()  # (T, Q, H, W)
    for row, track in zip(result["pred_ids"], result["pred_masks"], strict=True):
        assert (decoded(track, (33, 37)) != whole[:, row]).mean() <= 2e-4  # half precision


def test_prompts_change_the_result_and_a_baseline_has_none():
    model, frames = vis_model(), random_frames(4)
    prompted = model.segment(frames)
    model.prompt_predictor = None
    assert model.support_samplers() == ()
    assert model.segment(frames)["pred_scores"] != prompted["pred_scores"]


def test_a_frame_of_another_size_in_mid_video_keeps_its_own_size():
    first, second = random_frames(2), random_frames(2, size=(48, 64), frame=(40, 55))
    frames = Frames([])
    frames.items, frames.length = first.items + second.items, 4
    model = vis_model("INPUT.SUPPORT.STRIDE", "1", "INPUT.SUPPORT.FRAMES_PER_SIDE", "1")
    sizes = [found.image_size for _, _, found in model.stream(frames, window=4)]
    assert sizes == [(50, 61), (50, 61), (40, 55), (40, 55)]
    for track in model.segment(frames)["pred_masks"]:
        assert {tuple(rle["size"]) for rle in track[2:] if rle} <= {(40, 55)}


def test_two_videos_walked_in_turn_do_not_mix():
    model = vis_model("INPUT.SUPPORT.STRIDE", "2")
    videos = [random_frames(4, seed=1), random_frames(4, seed=2)]
    alone = [[found.scores for _, _, found in model.stream(video)] for video in videos]
    in_turn = [[], []]
    for pair in zip(*(model.stream(video) for video in videos), strict=True):
        for kept, (_, _, found) in zip(in_turn, pair, strict=True):
            kept.append(found.scores)
    for a, b in zip(alone, in_turn, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_hidden_tracks_leave_their_places_in_the_stream_to_those_that_are_seen():
    model, frames = vis_model("TEST.MAX_TRACKS", "2"), random_frames(3)
    with torch.no_grad():  # the two likeliest tracks by far, hidden in every frame
        model.sem_seg_head.predictor.class_embed.weight.zero_()
    head = model.sem_seg_head.forward

    def with_hidden(features):
        found = head(features)
        found["pred_logits"][:, :2, 0], found["pred_masks"][:, :2] = 20.0, -5.0
        found["pred_masks"][:, 2:, :4, :4] = 5.0
        found["pred_embeds"] = torch.eye(12, 64).expand(len(found["pred_logits"]), -1, -1)
        return found

    model.sem_seg_head.forward = with_hidden
    for _, _, found in model.stream(frames):
        assert len(found) == 2 and not set(found.pred_ids.tolist()) & {0, 1}


def losses_of(model, samples):
    with EventStorage():
        return model.train()(samples)


def test_training_reaches_every_parameter():
    model = vis_model()
    sum(losses_of(model, [training_sample(0), training_sample(1, objects=1)]).values()).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert any(p.grad.abs().sum() > 0 for p in model.prompt_predictor.parameters())


def test_a_batch_without_objects_trains():
    model = vis_model()
    losses = losses_of(model, [training_sample(0, objects=0), training_sample(1, objects=0)])
    total = sum(losses.values())
    total.backward()
    assert torch.isfinite(total) and losses["loss_mask"] == 0
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_loss_of_one_sample_falls():
    model, batch = vis_model("MODEL.MASK_FORMER.TRAIN_NUM_POINTS", "128"), [training_sample(0)]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    history = []
    for _ in range(40):
        torch.manual_seed(0)
        loss = sum(losses_of(model, batch).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.6 * history[0]


def test_targets_are_padded_below_and_right():
    model = vis_model("MODEL.STPN.ENABLED", "False")
    small, large = training_sample(0, size=(64, 64)), training_sample(1, size=(64, 96))
    targets = model._targets([small, large], (64, 96))
    assert [t["masks"].shape for t in targets] == [(2, 64, 96), (2, 64, 96)]
    assert torch.equal(targets[0]["masks"][:, :, :64], small["instances"].gt_masks.tensor)
    assert not targets[0]["masks"][:, :, 64:].any()


def test_pixel_decoder_stays_in_single_precision_under_autocast():
    model = vis_model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = model.backbone(torch.randn(1, 3, 64, 64))
        mask_features, levels = model.sem_seg_head.pixel_decoder(features)
        losses = losses_of(model, [training_sample(0)])
    assert mask_features.dtype == torch.float32 and {level.dtype for level in levels} == {torch.float32}
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_values_that_make_no_model_are_refused():
    for key, value in (("MODEL.SEM_SEG_HEAD.CONVS_DIM", "96"), ("MODEL.MASK_FORMER.DEC_LAYERS", "1"),
                       ("TEST.MAX_TRACKS", "0"), ("TEST.SCORE_HORIZON", "-1"),
                       ("MODEL.SWIN.OUT_FEATURES", "['res4','res5']")):
        with pytest.raises(InputError, match=key.split(".")[-1]):
            build_model(vis_config(key, value))
