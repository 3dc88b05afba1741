"""Masks of the toy set: the bodies' silhouettes, in agreement with the boxes, whatever damage does to the looks."""

import math
import zlib

import numpy as np
import pytest

from stpn.data import toy, toy_masks, toy_scene


@pytest.fixture(scope="module")
def videos():
    """The first of seed 3 with two objects that meet, and one with one object."""
    drawn = [toy.render_video(3, "val", number) for number in range(12)]
    return [next(v for v in drawn if len(v.objects) == count) for count in (2, 1)]


def _tight(mask):
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max(), rows.max()])


def _plain_silhouette(obj, t, side):
    """The same body, pixel by pixel: rotate the pixel's centre back, ask |u|^p + |v|^p <= 1."""
    cos, sin = math.cos(obj.angle[t]), math.sin(obj.angle[t])
    mask = np.zeros((side, side), bool)
    for y in range(side):
        for x in range(side):
            dx, dy = x - obj.x[t], y - obj.y[t]
            u, v = (cos * dx + sin * dy) / obj.half[0], (cos * dy - sin * dx) / obj.half[1]
            mask[y, x] = abs(u) ** obj.roundness + abs(v) ** obj.roundness <= 1
    return mask


def test_masks_equal_a_plain_re_rendering_of_each_body(videos):
    for video in videos:
        plain = [_plain_silhouette(obj, 9, toy.SIDE) for obj in video.objects]
        for i in range(len(plain)):
            for later in plain[i + 1:]:
                plain[i] &= ~later
        assert np.array_equal(video.masks(9), plain)


def test_masks_lie_in_the_boxes_and_reach_their_sides(videos):
    for video in [*videos, toy.still_image(0, 0)]:
        assert len(video.objects) == len(video.boxes[0])
        for t, boxes in enumerate(video.boxes):
            masks, covered = video.masks(t), np.zeros(video.frames[t].shape[:2], bool)
            for (track, label, *box), mask in reversed(list(zip(boxes, masks, strict=True))):
                assert video.objects[track].label == label and mask.dtype == bool
                outside = mask.copy()
                outside[box[1]:box[3] + 1, box[0]:box[2] + 1] = False
                assert not outside.any() and not (mask & covered).any()
                body = toy_masks.body_mask(video.objects[track], t, len(mask))
                assert np.abs(_tight(body) - box).max() <= 1  # a corner of the true body may fall between pixels
                assert np.array_equal(mask, body & ~covered)
                covered |= body


def test_masks_are_where_the_undamaged_body_is_drawn(videos):
    obj = videos[1].objects[0]
    canvas = np.zeros((toy.SIDE, toy.SIDE, 3), np.float32)
    layer, origin = toy_scene.draw_layer(obj, 20)
    layer[..., :3] = layer[..., 3:]
    toy_scene.paste(canvas, layer, origin)
    assert np.array_equal(toy_masks.body_mask(obj, 20, toy.SIDE), canvas[..., 0] >= 0.5)


@pytest.mark.parametrize("x, y", [(-500.0, 40.0), (40.0, 500.0)])
def test_a_body_outside_the_image_has_an_empty_mask(videos, x, y):
    obj = toy_scene.draw_object(np.random.default_rng(0), area=(0, 0, 96, 96))
    obj.x[0], obj.y[0] = x, y
    assert not toy_masks.body_mask(obj, 0, 96).any()


def test_generator_1_still_draws_the_videos_it_always_drew():
    video, still = toy.render_video(11, "val", 7), toy.still_image(0, 3)
    assert zlib.crc32(repr((video.boxes, video.deterioration, still.boxes)).encode()) == 0x7EA35191
    # Pictures by their means: the last bit of a pixel may depend on the processor.
    assert [float(np.mean(image)) for image in (*video.frames[::8], still.frames[0])] == pytest.approx(
        [34.125, 93.949, 91.902, 93.562, 109.21], abs=0.02)
