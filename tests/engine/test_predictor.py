"""VideoPredictor with a detector of three lines: what goes in, what comes out, and what stays behind."""

import copy
import gc
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.structures import Boxes, Instances
from PIL import Image

import stpn
from stpn import VideoPredictor, add_stpn_config
from stpn.data.source import open_source
from stpn.data.video import Frame
from stpn.engine.config_file import load_config
from stpn.engine.video_writer import VideoWriter
from stpn.errors import InputError
from stpn.prompting import SupportSampler, support_stream
from stpn.prompting.sampling import POLICIES


class BrightSpotModel:
    """Finds the box of the pixels above 200; its score says what the mean brightness of the supports was."""

    def __init__(self, *, policy="grid", uses_support=True):
        self.sampler = SupportSampler(policy=policy, frames_per_side=2, stride=4)
        self.uses_support = uses_support
        self.embedded = []

    def support_samplers(self, sampler=None):
        return (sampler or self.sampler,) if self.uses_support else ()

    def stream(self, frames, sampler=None):
        for t, item, support in support_stream(frames, sampler or self.sampler, self._embed):
            yield t, item, self._detect(item, support.mean() / 255)

    def _embed(self, item):
        self.embedded.append(item["frame"].index)
        return item["image"].float().mean((1, 2))[None, None]

    def _detect(self, item, brightness):
        _, height, width = item["image"].shape
        ys, xs = torch.nonzero(item["image"].amin(0) > 200, as_tuple=True)
        boxes = torch.empty(0, 4)
        if len(ys):
            boxes = torch.stack([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])[None].float()
            boxes *= torch.tensor([item["width"] / width, item["height"] / height] * 2)
        return Instances(
            (item["height"], item["width"]),
            pred_boxes=Boxes(boxes),
            scores=brightness.expand(len(boxes)),
            pred_classes=torch.zeros(len(boxes), dtype=torch.int64),
        )


def predictor(policy=None, *, enabled=True, test_policy="grid"):
    cfg = get_cfg()
    add_stpn_config(cfg)
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TEST = 0
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 2
    return VideoPredictor(cfg, policy=policy, model=BrightSpotModel(policy=test_policy, uses_support=enabled))


def pictures(count, size=(24, 32)):
    """A bright square that moves to the right over a background that gets lighter."""
    images = np.zeros((count, *size, 3), np.uint8)
    for i, image in enumerate(images):
        image[:] = i * 3 % 100
        image[4:10, i % 20 : i % 20 + 6] = 255
    return list(images)


def flat(results):
    return [
        (r.index, round(r.time, 6), r.predictions.pred_boxes.tensor.tolist(), r.predictions.scores.tolist())
        for r in results
    ]


def test_each_frame_comes_back_with_its_picture_time_and_boxes():
    images = pictures(5)
    results = list(predictor().stream(open_source(images, fps=10)))
    assert [r.index for r in results] == [0, 1, 2, 3, 4]
    assert [r.time for r in results] == [0, 0.1, 0.2, 0.3, 0.4]
    assert all((r.image == image).all() for r, image in zip(results, images, strict=True))
    assert [r.predictions.pred_boxes.tensor.tolist() for r in results] == [
        [[i, 4, i + 6, 10]] for i in range(5)
    ]


def test_call_returns_the_predictions_of_every_frame():
    found = predictor()(pictures(3))
    assert [x.pred_boxes.tensor[0, 0].item() for x in found] == [0, 1, 2]


def test_file_frames_and_generator_of_the_same_video_give_identical_detections(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", fps=10) as video:
        for i, image in enumerate(pictures(21)):
            video.write(image, i / 10)
    decoded = [frame.image for frame in open_source(str(tmp_path / "a.mp4"))]
    folder = tmp_path / "frames"
    folder.mkdir()
    for i, image in enumerate(decoded):
        Image.fromarray(image).save(folder / f"{i}.png")
    for policy in ("grid", "sliding", "causal"):
        model = predictor(policy)
        of_file = flat(model.stream(str(tmp_path / "a.mp4")))
        assert len(of_file) == 21 and all(scores for *_, scores in of_file)
        assert flat(model.stream(open_source(folder, fps=10))) == of_file
        assert flat(model.stream(open_source((x for x in decoded), fps=10))) == of_file


def test_spread_needs_a_source_with_an_end():
    model = predictor("spread")
    assert len(model(pictures(9))) == 9
    with pytest.raises(InputError, match="spread.*causal"):
        model.stream(x for x in pictures(9))


def test_unknown_policy_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="grid"):
        predictor("gird")


def test_camera_uses_causal_unless_told_otherwise():
    source = open_source([])
    source.kind = "camera"
    assert predictor(test_policy="spread").sampler(source).policy == "causal"
    assert predictor("grid").sampler(source).policy == "grid"
    assert predictor(test_policy="sliding").sampler(open_source([])).policy == "sliding"


def test_spread_on_a_camera_names_the_policies_that_work():
    source = open_source(x for x in [])
    source.kind = "camera"
    with pytest.raises(InputError, match="causal.*grid.*sliding"):
        predictor("spread").stream(source)


@pytest.mark.parametrize("policy, read_before_first_result", [("causal", 1), ("grid", 9), ("sliding", 9)])
def test_policies_read_ahead_just_as_far_as_they_need(policy, read_before_first_result):
    read = []

    def live():
        for i, image in enumerate(pictures(30)):
            read.append(i)
            yield image

    results = predictor(policy).stream(live())
    next(results)
    assert len(read) == read_before_first_result
    results.close()


def test_baseline_uses_no_policy():
    assert predictor(enabled=False).sampler(open_source([])) is None


def test_one_frame_video_is_its_own_support():
    model = predictor()
    (result,) = model.stream(pictures(1))
    assert model.model.embedded == [0] and result.predictions.scores.item() > 0


def test_video_shorter_than_the_support_window_works():
    model = predictor("spread")
    assert len(model(pictures(3))) == 3 and sorted(model.model.embedded) == [0, 1, 2]


def test_interleaved_streams_equal_separate_ones():
    model, images = predictor(), pictures(20)
    apart = flat(model.stream(images)), flat(model.stream(images[::-1]))
    first, second = [], []
    for a, b in zip(model.stream(images), model.stream(images[::-1]), strict=True):
        first.append(a)
        second.append(b)
    assert (flat(first), flat(second)) == apart


def test_policy_of_one_stream_leaves_another_alone():
    model, images = predictor(), pictures(20)
    source = open_source(images)
    source.kind = "camera"
    alone = flat(model.stream(images))
    mixed = [a for a, _ in zip(model.stream(images), model.stream(source), strict=True)]
    assert flat(mixed) == alone and model.model.sampler.policy == "grid"


@pytest.mark.parametrize("policy", ["grid", "spread", "causal"])
def test_unreadable_frames_keep_their_place_and_never_reach_the_model(policy):
    frames = [Frame(i, i / 10, image) for i, image in enumerate(pictures(12))]
    for i in (0, 4, 5, 11):
        frames[i] = Frame(i, i / 10, None, error=f"frame {i} is broken")
    model = predictor(policy)
    results = list(model.stream(open_source(frames, on_error="skip")))
    assert [r.index for r in results] == list(range(12))
    assert [r.index for r in results if r.error] == [0, 4, 5, 11]
    assert [len(r.predictions) for r in results] == [0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 0]
    assert results[4].image.shape == (24, 32, 3) and results[4].image.max() == 0
    assert results[4].error == "frame 4 is broken"


@pytest.mark.parametrize("policy", POLICIES)
def test_a_video_without_a_frame_that_can_be_read_has_empty_results_whatever_the_policy(policy):
    model = predictor(policy)
    assert list(model.stream([])) == [] == model([])
    broken = [Frame(i, i / 10, None, error=f"frame {i} is broken") for i in range(3)]
    results = list(model.stream(open_source(broken, on_error="skip")))
    assert [(r.index, r.error, len(r.predictions)) for r in results] == [(f.index, f.error, 0) for f in broken]


def test_folder_with_a_truncated_picture_gives_the_frames_before_it_then_the_error(tmp_path):
    for i, image in enumerate(pictures(12)):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    (tmp_path / "8.png").write_bytes((tmp_path / "8.png").read_bytes()[:60])
    results = []
    with pytest.raises(InputError, match=r"frame 8 .*8\.png"):
        for result in predictor("grid").stream(str(tmp_path)):
            results.append(result)
    assert [r.index for r in results] == list(range(8))


def test_error_of_a_generator_comes_after_the_frames_before_it():
    def broken():
        yield from pictures(3)
        raise RuntimeError("cable pulled")

    results = predictor("grid").stream(broken())
    assert [next(results).index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RuntimeError, match="cable pulled"):
        next(results)


def test_abandoned_stream_closes_decoder_and_source(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", fps=10) as video:
        for i, image in enumerate(pictures(20)):
            video.write(image, i / 10)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        results = predictor().stream(str(tmp_path / "a.mp4"))
        next(results)
        del results
        gc.collect()
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


def test_abandoned_generator_of_arrays_is_closed():
    closed = []

    def live():
        try:
            yield from pictures(50)
        finally:
            closed.append(True)

    results = predictor("causal").stream(live())
    next(results)
    results.close()
    assert closed


def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="reads the resident memory from Linux's /proc"
)
def test_memory_stays_flat_over_5000_frames():
    image = np.zeros((32, 48, 3), np.uint8)
    image[4:10, 4:10] = 255
    sizes = []
    for result in predictor("grid").stream(image.copy() for _ in range(5000)):
        if result.index % 1000 == 999:
            gc.collect()
            sizes.append(resident_mb())
    slope = np.polyfit(range(1, 5), sizes[1:], 1)[0]  # the first 1,000 frames are warm-up
    assert slope < 1, f"{slope:.2f} MB more for each 1,000 frames; {sizes}"


def test_real_model_gives_the_same_however_it_is_fed(tmp_path):
    cfg = load_config(Path(stpn.__file__).parents[1] / "configs" / "toy" / "stpn.yaml", ["MODEL.WEIGHTS", ""])
    cfg.INPUT.SUPPORT.FRAMES_PER_SIDE = 2
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    first = VideoPredictor(cfg)
    torch.save({"model": first.model.state_dict()}, tmp_path / "model.pth")
    second = VideoPredictor(cfg, weights=str(tmp_path / "model.pth"), policy="grid")
    images = pictures(8, size=(48, 64))
    listed = flat(first.stream(images))
    assert sum(len(boxes) for _, _, boxes, _ in listed) > 0
    assert flat(first.stream(x for x in images)) == listed
    interleaved = [
        r for pair in zip(first.stream(images), first.stream(images[::-1]), strict=True) for r in pair
    ]
    assert flat(interleaved[::2]) == listed
    assert flat(second.stream(images)) == listed
    assert flat(VideoPredictor(cfg, model=first.model, policy="causal").stream(images)) != listed


def test_model_given_by_the_caller_is_not_changed():
    model = predictor("causal")
    before = copy.copy(vars(model.model))
    model(pictures(2))
    assert vars(model.model)["sampler"] is before["sampler"]


def test_class_names_fall_back_to_numbers():
    assert predictor().class_names == ["class 0", "class 1"]
