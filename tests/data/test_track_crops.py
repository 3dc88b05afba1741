"""The law of jittered regions, and changes of frames and crops: box and pixels go together."""

import numpy as np
import pytest

from stpn.data.track_crops import Single, View, Whole, jittered, look, middle_box


def test_jitter_is_the_published_law_written_plainly():
    view, box = View(64, 5.0, center=4.5, scale=0.5), np.array([10.0, 20, 30, 8])
    one, two = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(20):
        x, y, w, h = jittered(box, view, one)
        wide, high = 30 * np.exp(0.5 * two.standard_normal()), 8 * np.exp(0.5 * two.standard_normal())
        reach = np.sqrt(wide * high) * 4.5
        centre = 25 + reach * (two.random() - 0.5), 24 + reach * (two.random() - 0.5)
        np.testing.assert_allclose([x + w / 2, y + h / 2, w, h], [*centre, wide, high], atol=1e-9)


def test_no_jitter_is_the_box_itself_and_draws_as_many_numbers():
    one, two = np.random.default_rng(3), np.random.default_rng(3)
    box = np.array([10.0, 20, 30, 8])
    np.testing.assert_allclose(jittered(box, View(64, 2.0), one), box, atol=1e-12)
    jittered(box, View(64, 5.0, 4.5, 0.5), two)
    assert one.random() == two.random()


def test_mirrored_frame_and_box_go_together_by_the_published_rule():
    image = np.zeros((6, 20, 3), np.uint8)
    image[2:4, 5:9] = 200
    mirrored, box = Whole(flip=True, gray=False).apply(image, np.array([5.0, 2, 4, 2]))
    # Pixels 5..8 go to 11..14; the ends of the box, 5 and 9, to 14 and 10.
    assert np.flatnonzero(mirrored[2, :, 0]).tolist() == [11, 12, 13, 14] and box.tolist() == [10, 2, 4, 2]


def test_grey_frames_have_three_equal_channels():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    grey, _ = Whole(flip=False, gray=True).apply(image, np.zeros(4))
    expected = np.rint(image @ [0.299, 0.587, 0.114])
    assert np.abs(grey - expected[..., None]).max() <= 1


def test_a_crop_is_mirrored_and_made_brighter_with_its_box():
    crop = np.full((4, 10, 3), 100, np.uint8)
    crop[:, :3], crop[:, 9] = 20, 250
    changed, box = Single(flip=True, brightness=1.15).apply(crop, np.array([0.0, 0.25, 0.3, 1]))
    assert changed[0, :, 0].tolist() == [255] + [115] * 6 + [23] * 3
    np.testing.assert_allclose(box, [0.7, 0.25, 1, 1])


def test_what_happens_to_a_crop_follows_its_probabilities():
    rng = np.random.default_rng(0)
    drawn = [Single.draw(rng, flip=0.5, brightness=0.2) for _ in range(400)]
    assert 150 < sum(one.flip for one in drawn) < 250
    factors = [one.brightness for one in drawn]
    assert 0.8 <= min(factors) < 0.81 and 1.19 < max(factors) <= 1.2
    assert Single.draw(rng, flip=0, brightness=0) == (False, 1.0)


@pytest.mark.parametrize("x, shows", [(-400, False), (0, True), (45, True), (500, False)])
def test_a_region_outside_of_the_frame_is_none(x, shows):
    image, box = np.full((40, 50, 3), 9, np.uint8), np.array([x, 10.0, 20, 20])
    crop, _ = look(image, box, box, View(64, 2.0))
    assert (crop is not None) == shows


def test_a_region_of_which_the_network_sees_no_cell_inside_is_none():
    image, box = np.full((64, 64, 3), 9, np.uint8), np.array([-57.0, 0, 64, 64])
    assert look(image, box, box, View(64, 1.0))[0] is None  # 7 columns of the frame, none of them a 16th


def test_box_of_a_target_that_is_not_there_is_an_eighth_in_the_middle():
    x, y, w, h = middle_box(80, 160)
    assert (w, h) == (20, 10) and (x + w / 2, y + h / 2) == (80, 40)
