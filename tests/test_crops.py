"""A tracker's crops and box mappings against the recorded ones of MixFormer's code."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stpn import crops
from stpn.crops import box_in_crop, box_in_image, check_box, check_image, clip_box, crop_square, outside_square
from stpn.errors import InputError


@pytest.fixture(scope="module")
def recorded(fixtures_dir):
    return lambda name: torch.load(fixtures_dir / "vot" / "ops" / name, weights_only=True)


def test_crops_equal_the_recorded_ones_at_borders_too(recorded):
    case = recorded("crops.pt")
    image = case["image"].numpy()
    for one in case["sample_target"]:
        crop, scale = crop_square(image, one["box"], factor=one["factor"], size=one["out"])
        outside = outside_square(image.shape, one["box"], factor=one["factor"], size=one["out"])
        assert scale == one["resize_factor"]
        assert int(crop.astype(np.int64).sum()) == one["crop_sum"] and int(outside.sum()) == one["att_sum"]


def test_boxes_in_crops_equal_the_recorded_ones(recorded):
    for one in recorded("crops.pt")["box_to_crop"]:
        found = box_in_crop(one["gt"].numpy(), one["extract"].numpy(), scale=one["resize_factor"], size=320)
        np.testing.assert_allclose(found, one["out"].numpy(), atol=1e-6)


def test_clipped_boxes_equal_the_recorded_ones(recorded):
    for box, clipped in recorded("boxes_losses.pt")["clip_box_H360_W500_m10"]:
        assert clip_box(box, 360, 500) == pytest.approx(clipped, abs=1e-9)


def test_crop_in_the_middle_is_the_image_itself():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    crop, scale = crop_square(image, (30, 20, 10, 10), factor=2.0, size=20)
    outside = outside_square(image.shape, (30, 20, 10, 10), factor=2.0, size=20)
    assert scale == 1 and not outside.any()
    assert np.array_equal(crop, image[15:35, 25:45])


number = st.floats(-50, 150)
length = st.floats(1, 120)


@settings(max_examples=60, deadline=None)
@given(number, number, length, length, length, length)
def test_a_box_goes_into_a_crop_and_back(x, y, w, h, around_w, around_h):
    around = (10.0, 20.0, around_w, around_h)
    scale, size = 2.5, 160
    inside = box_in_crop((x, y, w, h), around, scale=scale, size=size)
    # Training's centre lies half a pixel of the crop above testing's, as published.
    middle = inside[:2] + inside[2:] / 2 + 0.5 / size
    back = box_in_image((*middle, *inside[2:]), around, scale=scale, size=size)
    assert back == pytest.approx([x, y, w, h], abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(number, number, st.floats(0.6, 300), st.floats(0.6, 300))
def test_any_box_can_be_looked_around(x, y, w, h):
    image = np.full((40, 50, 3), 7, np.uint8)
    crop, scale = crop_square(image, (x, y, w, h), factor=2.0, size=32)
    outside = outside_square(image.shape, (x, y, w, h), factor=2.0, size=32)
    assert crop.shape == (32, 32, 3) and outside.shape == (32, 32) and scale > 0
    assert (crop[~outside] > 0).all() or outside.any()


@pytest.mark.parametrize("box", [(1, 1, 0, 5), (1, 1, 5, -2), (float("nan"), 1, 5, 5), (1, 1, float("inf"), 5)])
def test_a_box_without_area_is_refused(box):
    with pytest.raises(InputError, match="expected finite numbers"):
        crop_square(np.zeros((9, 9, 3), np.uint8), box, factor=2.0, size=16)


@pytest.mark.parametrize("image, said", [
    (np.zeros((9, 9), np.uint8), "uint8 of shape \\(9, 9\\)"), (np.zeros((9, 9, 4), np.uint8), "9, 9, 4"),
    (np.zeros((9, 9, 3), np.float32), "float32"), (np.zeros((0, 9, 3), np.uint8), "0, 9, 3"), ([[1]], "list"),
    (None, "None")])
def test_what_is_no_picture_is_refused(image, said):
    with pytest.raises(InputError, match=said):
        check_image(image)


def test_a_box_many_times_as_large_as_its_frame_is_refused():
    assert check_box([-60, -40, 150, 110], 40, 50) == [-60.0, -40.0, 150.0, 110.0]
    with pytest.raises(InputError, match="at most 3 times"):
        check_box([-5e4, -5e4, 1e5, 1e5], 40, 50)


@pytest.mark.parametrize("box", ["1,2,3,4", [1, 2, 3, "x"], None, 5])
def test_a_box_that_is_no_numbers_is_refused(box):
    with pytest.raises(InputError, match="four finite numbers"):
        check_box(box, 40, 50)


@pytest.mark.parametrize("box", [(-40, -10, 300, 200), (30, 20, 150, 160), (100, 90, 90, 80)])
def test_squares_too_large_to_be_made_whole_look_the_same(box, monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    whole, outside = crop_square(image, box, factor=4.0, size=96), outside_square(image.shape, box, factor=4.0, size=96)
    monkeypatch.setattr(crops, "_WHOLE", 64)
    found, mask = crop_square(image, box, factor=4.0, size=96), outside_square(image.shape, box, factor=4.0, size=96)
    assert found[1] == whole[1] and np.mean(mask != outside) < 0.03
    same = ~(mask | outside)
    difference = np.abs(found[0][same].astype(int) - whole[0][same])
    assert same.any() and difference.max() <= 16 and difference.mean() < 3
    assert (found[0][mask & outside] == whole[0][mask & outside]).mean() > 0.9


def test_a_target_that_fills_a_large_frame_takes_little_memory():
    image = np.full((3000, 4000, 3), 7, np.uint8)
    tracemalloc.start()
    crop, _ = crop_square(image, (0, 0, 4000, 3000), factor=4.55, size=320)
    outside = outside_square(image.shape, (0, 0, 4000, 3000), factor=4.55, size=320)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6 and crop[160, 160].tolist() == [7, 7, 7] and not outside[160, 160] and outside[0, 0]
