"""A tracker's search regions, supports and prompts, against crops cut by hand along its own boxes."""

import numpy as np
import pytest
import torch
from tiny_vot import frames_of, moving_square, vot_model

from stpn.crops import crop_square
from stpn.explain import prompt_reading, support_reading, tracked_frames

COUNT = 12


@pytest.fixture(scope="module")
def found():
    model, (images, boxes) = vot_model(), moving_square(COUNT)
    start = boxes[0].tolist()
    followed = model.follow(frames_of(images), start)["boxes"]
    return model, images, followed, list(tracked_frames(model, frames_of(images), start))


def test_every_frame_but_the_first_is_there_as_the_tracker_looked_at_it(found):
    model, images, boxes, frames = found
    assert [frame.t for frame in frames] == list(range(1, COUNT))
    for frame in frames:
        crop, _ = crop_square(images[frame.t], boxes[frame.t - 1].tolist(), factor=4.0, size=64)
        np.testing.assert_array_equal(frame.picture, crop)


def test_supports_are_those_of_the_sampler_and_predict_the_prompts(found):
    model, images, boxes, frames = found
    for frame in frames:
        assert frame.supports.numbers == model.sampler.test(frame.t)
        with torch.no_grad():
            torch.testing.assert_close(model.prompt_predictor(frame.supports.maps)[0], frame.prompts[0])
        for i, image in zip(frame.supports.numbers, frame.supports.images, strict=True):
            crop, _ = crop_square(images[i], boxes[max(0, i - 1)].tolist(), factor=4.0, size=64)
            np.testing.assert_array_equal(image, crop)


def test_both_readings_can_be_shown_of_a_tracker(found):
    model, _, _, frames = found
    frame = frames[-1]
    reads = support_reading(model.prompt_predictor, frame.supports.maps)
    torch.testing.assert_close(reads.sum((1, 2, 3)), torch.ones(len(reads)))
    maps = prompt_reading(model.backbone, frame.images, frame.prompts, **frame.context)
    assert [m.shape[1:] for m in maps] == [(16, 16), (8, 8), (8, 8), (4, 4), (4, 4), (4, 4)]
    assert all(0 < m.min() and m.sum(0).max() < 1 for m in maps)


def test_wanted_frames_end_the_walk_and_prompts_from_templates_have_no_support_frames():
    model, (images, boxes) = vot_model("INPUT.SUPPORT.SOURCE", "templates"), moving_square(6)
    frames = list(tracked_frames(model, frames_of(images), boxes[0].tolist(), [2, 4]))
    assert [frame.t for frame in frames] == [2, 4] and all(frame.supports is None for frame in frames)
    assert not model.backbone._forward_pre_hooks and not model.prompt_predictor._forward_pre_hooks
