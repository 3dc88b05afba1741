"""VideoPredictor with a model that follows objects: per frame, as a whole video, and as JSON lines."""

import json
import os

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Instances
from PIL import Image
from pycocotools import mask as coco_mask
from tiny_vis import vis_config, vis_model

from stpn import VideoPredictor
from stpn.data.source import open_source
from stpn.data.video import Frame
from stpn.engine.video_run import run_video
from stpn.engine.video_writer import VideoWriter
from stpn.errors import InputError
from stpn.prompting import SupportSampler, support_stream


class BrightTracks:
    """Two tracks: 3 are the pixels above 200 of the upper half, 8 those of the lower half. Its scores say what the mean
    brightness of the supports was."""

    def __init__(self, policy="grid"):
        self.sampler = SupportSampler(policy=policy, frames_per_side=2, stride=4)

    def support_samplers(self, sampler=None):
        return (sampler or self.sampler,)

    def stream(self, frames, sampler=None, window=None):
        embed = lambda item: item["image"].float().mean((1, 2))[None, None]  # noqa: E731
        for t, item, support in support_stream(frames, sampler or self.sampler, embed):
            both = torch.from_numpy(tracks_of(item["frame"].image))
            seen = both.flatten(1).any(1)
            masks = both[seen]
            yield t, item, Instances(
                tuple(masks.shape[1:]), pred_masks=masks, pred_boxes=BitMasks(masks).get_bounding_boxes(),
                scores=torch.tensor([0.9, 0.4])[seen] * support.mean() / 255,
                pred_classes=torch.tensor([0, 1])[seen], pred_ids=torch.tensor([3, 8])[seen])

    def segment(self, frames, sampler=None, window=None):
        masks = [tracks_of(item["frame"].image) for _, item, _ in self.stream(frames, sampler)]
        return {"image_size": masks[0].shape[1:], "pred_scores": [0.9, 0.4], "pred_labels": [0, 1], "pred_ids": [3, 8],
                "pred_masks": [[rle(frame[i]) for frame in masks] for i in range(2)]}


def tracks_of(image):
    """np.uint8 (H, W, 3) -> np.bool (2, H, W)."""
    bright = image.min(2) > 200
    upper = np.arange(len(bright))[:, None] < len(bright) // 2
    return np.stack([bright & upper, bright & ~upper])


def rle(mask):
    found = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": found["counts"].decode()} if mask.any() else None


def pictures(count, size=(32, 40)):
    """A square moves to the right in the upper half, another, unless the frame is the fourth, in the lower half."""
    images = np.full((count, *size, 3), 40, np.uint8)
    for i, image in enumerate(images):
        image[4:12, i % 20:i % 20 + 9] = 250
        if i != 3:
            image[20:28, i % 12:i % 12 + 7] = 250
    return list(images)


def predictor(policy=None, model=None):
    cfg = vis_config("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "3", "INPUT.MIN_SIZE_TEST", "32", "INPUT.MAX_SIZE_TEST", "64")
    return VideoPredictor(cfg, policy=policy, model=model or BrightTracks())


@pytest.fixture(scope="module")
def real():
    """The tiny segmenter with random weights; equal for any window."""
    def build(window):
        return predictor(model=vis_model("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "3", "TEST.WINDOW_SIZE", str(window),
                                         "TEST.MAX_TRACKS", "5", "INPUT.SUPPORT.STRIDE", "2",
                                         "INPUT.SUPPORT.FRAMES_PER_SIDE", "2"))
    return build


def flat(results):
    return [(r.index, round(r.time, 6), r.predictions.pred_ids.tolist(), r.predictions.pred_classes.tolist(),
             r.predictions.scores.tolist(), [rle(m.numpy()) for m in r.predictions.pred_masks]) for r in results]


def decoded(result):
    """-> np.bool (n, T, H, W)."""
    nothing = np.zeros(result["image_size"], bool)
    return np.array([[nothing if m is None else coco_mask.decode(m) for m in track] for track in result["pred_masks"]])


def same_but_for_rounding(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert a[:4] == b[:4]
        np.testing.assert_allclose(a[4], b[4], atol=1e-5)
        for mine, other in zip(a[5], b[5], strict=True):
            assert (coco_mask.decode(mine) != coco_mask.decode(other)).mean() <= 1e-3


def test_each_frame_comes_back_with_the_masks_and_numbers_of_its_tracks():
    images = pictures(6)
    for result, image in zip(predictor().stream(images), images, strict=True):
        found, wanted = result.predictions, tracks_of(image)
        assert found.pred_ids.tolist() == ([3] if result.index == 3 else [3, 8])
        assert (found.pred_masks.numpy() == wanted[wanted.any((1, 2))]).all()


def test_call_returns_one_result_for_the_video():
    found = predictor()(pictures(5))
    assert found["pred_ids"] == [3, 8] and found["pred_scores"] == [0.9, 0.4] and found["image_size"] == (32, 40)
    assert [len(track) for track in found["pred_masks"]] == [5, 5]
    assert [m is None for m in found["pred_masks"][1]] == [False, False, False, True, False]


@pytest.fixture
def three_sources(tmp_path):
    """The same nine pictures as a video file, a folder of pictures and a generator: three functions that open them."""
    with VideoWriter(tmp_path / "a.mp4", fps=10) as video:
        for i, image in enumerate(pictures(9)):
            video.write(image, i / 10)
    decoded = [frame.image for frame in open_source(str(tmp_path / "a.mp4"))]
    (tmp_path / "frames").mkdir()
    for i, image in enumerate(decoded):
        Image.fromarray(image).save(tmp_path / "frames" / f"{i}.png")
    return (lambda: str(tmp_path / "a.mp4"), lambda: open_source(tmp_path / "frames", fps=10),
            lambda: open_source((x for x in decoded), fps=10))


def test_file_frames_and_arrays_give_identical_tracks(three_sources, real):
    for model in (predictor(), real(4)):
        streamed = [flat(model.stream(source())) for source in three_sources]
        assert streamed[0] == streamed[1] == streamed[2]
        assert len(streamed[0]) == 9 and sum(len(frame[2]) for frame in streamed[0]) > 9
        called = [model(source()) for source in three_sources]
        assert called[0] == called[1] == called[2] and called[0]["pred_ids"]


def test_windows_of_1_7_and_the_whole_video_give_the_same_tracks(real):
    images = pictures(12)
    one = flat(real(1).stream(images))
    for window in (7, 12):
        same_but_for_rounding(flat(real(window).stream(images)), one)
    whole = real(1)(images)
    for found in (real(7)(images), real(12)(images)):
        assert (found["pred_ids"], found["pred_labels"]) == (whole["pred_ids"], whole["pred_labels"])
        np.testing.assert_allclose(found["pred_scores"], whole["pred_scores"], atol=1e-5)
        assert np.mean(decoded(found) != decoded(whole)) <= 1e-3


def test_interleaved_videos_do_not_mix(real):
    model, images = real(1), pictures(10)
    apart = flat(model.stream(images)), flat(model.stream(images[::-1]))
    assert apart[0] != apart[1]
    first, second = [], []
    for a, b in zip(model.stream(images), model.stream(images[::-1]), strict=True):
        first.append(a)
        second.append(b)
    assert (flat(first), flat(second)) == apart


@pytest.mark.parametrize("policy", ["grid", "spread", "causal"])
def test_unreadable_frames_keep_their_place(policy):
    images = pictures(10)
    frames = [Frame(i, i / 10, image) for i, image in enumerate(images)]
    for i in (0, 4, 5, 9):
        frames[i] = Frame(i, i / 10, None, error=f"frame {i} is broken")
    results = list(predictor(policy).stream(open_source(frames, on_error="skip")))
    assert [(r.index, len(r.predictions)) for r in results] == list(enumerate([0, 2, 2, 1, 0, 0, 2, 2, 2, 0]))
    empty = results[4].predictions
    assert empty.pred_masks.shape == (0, 32, 40) and empty.pred_masks.dtype == torch.bool and len(empty.pred_ids) == 0
    found = predictor(policy)(open_source(frames, on_error="skip"))
    assert found["pred_masks"][0] == [None if i in (0, 4, 5, 9) else rle(tracks_of(images[i])[0]) for i in range(10)]


def test_frames_with_gaps_in_their_own_numbers_keep_the_place_in_the_list():
    frames = [Frame(100 + i, i / 10, image) for i, image in enumerate(pictures(3))]
    frames[1] = Frame(101, 0.1, None, error="broken")
    found = predictor()(open_source(frames, on_error="skip"))
    assert [m is None for m in found["pred_masks"][0]] == [False, True, False]


def test_error_of_the_source_ends_a_call():
    def broken():
        yield from pictures(3)
        raise RuntimeError("cable pulled")

    with pytest.raises(RuntimeError, match="cable pulled"):
        predictor()(broken())


@pytest.mark.parametrize("frames", [[], [Frame(0, 0.0, None, error="broken")]])
def test_video_without_a_readable_frame_cannot_be_segmented(real, frames):
    assert [len(result.predictions) for result in real(1).stream(open_source(frames, on_error="skip"))] == [0] * len(
        frames)
    with pytest.raises(InputError, match="holds 0 frames that can be read; expected at least one: "):
        real(1)(open_source(frames, on_error="skip"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files in Linux's /proc")
def test_call_closes_what_it_opened(three_sources, real):
    model = real(1)
    model(three_sources[0]())
    before = len(os.listdir("/proc/self/fd"))
    model(three_sources[0]())
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_camera_is_not_held_back_by_windows(real):
    read = []

    def live():
        for i, image in enumerate(pictures(20)):
            read.append(i)
            yield image

    source = open_source(live())
    source.kind = "camera"
    results = real(8).stream(source)
    next(results)
    assert read == [0]
    results.close()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_json_lines_hold_track_numbers_and_the_very_masks(tmp_path):
    images = pictures(5)
    frames = [Frame(i, i / 10, image) for i, image in enumerate(images)]
    frames[2] = Frame(2, 0.2, None, error="frame 2 is broken")
    totals = run_video(predictor(), open_source(frames, on_error="skip"), jsonl_path=tmp_path / "a.jsonl",
                       video_path=tmp_path / "a.mp4", score_threshold=0.0, progress=False)
    assert (totals.frames, totals.detections, totals.tracks) == (5, 7, {3, 8})
    found = lines(tmp_path / "a.jsonl")
    assert [r["track_ids"] for r in found] == [[3, 8], [3, 8], [], [3], [3, 8]]
    assert found[0]["labels"] == ["class 0", "class 1"] and found[2]["segmentations"] == []
    for record, image in zip(found, images, strict=True):
        for number, segmentation in zip(record["track_ids"], record["segmentations"], strict=True):
            assert segmentation["size"] == [32, 40] and isinstance(segmentation["counts"], str)
            assert (coco_mask.decode(segmentation).astype(bool) == tracks_of(image)[[3, 8].index(number)]).all()


def test_threshold_takes_masks_and_numbers_along(tmp_path):
    results = list(predictor().stream(pictures(4)))
    between = float(results[0].predictions.scores.mean())
    run_video(predictor(), open_source(pictures(4)), jsonl_path=tmp_path / "a.jsonl", score_threshold=between,
              progress=False)
    for record in lines(tmp_path / "a.jsonl"):
        assert record["track_ids"] == [3] and len(record["segmentations"]) == len(record["boxes"]) == 1
