"""The toy video set: a pure function of its seed, labelled exactly, damaged as it says."""

import dataclasses
import itertools

import numpy as np
import pytest

from stpn.data import toy, toy_damage, toy_scene
from stpn.errors import InputError


@pytest.fixture(scope="module")
def videos():
    return [toy.render_video(3, "val", number) for number in range(24)]


def _some_objects(count=12):
    rng = np.random.default_rng(0)
    return [toy_scene.draw_object(rng, area=(0, 0, 96, 96), frames=4) for _ in range(count)]


def _runs(states):
    return [(state, len(list(run))) for state, run in itertools.groupby(states)]


def test_same_seed_gives_the_same_video():
    first, second = toy.render_video(1, "train", 4), toy.render_video(1, "train", 4)
    assert np.array_equal(first.frames, second.frames)
    assert first.boxes == second.boxes and first.deterioration == second.deterioration


@pytest.mark.parametrize("other", [(2, "train", 4), (1, "val", 4), (1, "train", 5)])
def test_another_seed_split_or_number_gives_another_video(other):
    assert not np.array_equal(toy.render_video(1, "train", 4).frames[0], toy.render_video(*other).frames[0])


def test_train_and_val_share_no_frame(videos):
    train = {frame.tobytes() for number in range(5) for frame in toy.render_video(3, "train", number).frames}
    assert train.isdisjoint(frame.tobytes() for video in videos for frame in video.frames)


def test_frames_are_rgb_bytes_with_one_state_and_one_box_list_each(videos):
    for video in videos:
        assert len(video.frames) == len(video.boxes) == len(video.deterioration) == toy.FRAMES
        assert all(frame.shape == (96, 96, 3) and frame.dtype == np.uint8 for frame in video.frames)
        assert set(video.deterioration) <= {"clean", *toy_damage.KINDS}


def test_about_half_of_the_frames_are_deteriorated_in_bursts_of_4_to_9():
    rng = np.random.default_rng(0)
    plans = [toy_damage.plan_bursts(rng, toy.FRAMES) for _ in range(400)]
    lengths = [len(burst) for plan in plans for burst in plan]
    assert 4 <= min(lengths) and max(lengths) == 9
    assert 0.45 < sum(lengths) / (400 * toy.FRAMES) < 0.58
    gaps = [b.first - a.last - 1 for plan in plans for a, b in itertools.pairwise(plan)]
    assert min(gaps) == 3 and max(gaps) == 9
    assert {burst.kind for plan in plans for burst in plan} == set(toy_damage.KINDS)


def test_every_video_shows_each_object_clean(videos):
    for video in videos:
        assert video.deterioration.count("clean") >= 3
        assert all(4 <= length <= 9 for state, length in _runs(video.deterioration) if state != "clean")


def test_boxes_lie_inside_the_image_and_keep_class_and_track(videos):
    for video in videos:
        for boxes in video.boxes:
            assert [box[:2] for box in boxes] == [box[:2] for box in video.boxes[0]]
            for _, label, x1, y1, x2, y2 in boxes:
                assert 0 <= label < 8 and 0 <= x1 < x2 <= 95 and 0 <= y1 < y2 <= 95
                assert x2 - x1 > 24 and y2 - y1 > 24


def test_boxes_are_tight_around_the_drawn_body():
    for obj, t in itertools.product(_some_objects(), range(4)):
        canvas = np.zeros((96, 96, 3), np.float32)
        layer, origin = toy_scene.draw_layer(obj, t)
        layer[..., :3] = layer[..., 3:]
        toy_scene.paste(canvas, layer, origin)
        rows, columns = np.nonzero(canvas[..., 0] > 0.5)
        drawn = [columns.min(), rows.min(), columns.max(), rows.max()]
        assert np.abs(obj.boxes(96)[t] - drawn).max() <= 1


def test_two_objects_never_cover_each_other(videos):
    pairs = [video for video in videos if len(video.boxes[0]) == 2]
    assert 1 <= len(pairs) <= 10
    for (_, _, *a), (_, _, *b) in (boxes for video in pairs for boxes in video.boxes):
        wide, high = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
        area = min((x2 - x1 + 1) * (y2 - y1 + 1) for x1, y1, x2, y2 in (a, b))
        assert max(0, wide) * max(0, high) / area < 0.6


def test_only_the_pattern_tells_the_class():
    obj = _some_objects(1)[0]
    layers = [toy_scene.draw_layer(dataclasses.replace(obj, label=label), 0)[0] for label in range(8)]
    for first, second in itertools.combinations(layers, 2):
        assert np.array_equal(first[..., 3], second[..., 3])
        assert np.abs(first - second).max() > 50


def test_darkness_leaves_a_small_part_of_the_light():
    burst = toy_damage.Burst("dark", 0, 3, np.mean(toy_damage.SEVERITY["dark"]), 0.7, 5)
    image = np.full((96, 96, 3), 200, np.float32)
    toy_damage.darken(image, burst, np.random.default_rng(0))
    bright = np.full_like(image, 255)
    toy_damage.darken(bright, burst, np.random.default_rng(0))
    assert abs((bright - image).mean() - 55 * burst.severity) < 0.1  # what is left of the contrast
    assert image.std() > 10  # and the noise that covers it


@pytest.mark.parametrize("kind", [kind for kind in toy_damage.KINDS if kind != "dark"])
def test_damage_changes_the_pattern_and_leaves_the_place(kind):
    for obj in _some_objects(4):
        burst = toy_damage.Burst(kind, 0, 3, np.mean(toy_damage.SEVERITY[kind]), 0.7, 5)
        clean, _ = toy_scene.draw_layer(obj, 1)
        layer, (x0, y0) = toy_damage.damaged_layer(obj, 1, burst, np.random.default_rng(0))
        ys, xs = np.mgrid[:layer.shape[0], :layer.shape[1]]
        cover = layer[..., 3]
        centre = np.array([(cover * xs).sum() + cover.sum() * x0, (cover * ys).sum() + cover.sum() * y0])
        assert np.abs(centre / cover.sum() - [obj.x[1], obj.y[1]]).max() < 0.06 * obj.size
        if layer.shape == clean.shape:
            assert np.abs(layer[..., :3] - clean[..., :3])[cover > 0.99].mean() > 10


def test_deformation_is_new_in_each_frame_and_the_occluder_stays():
    obj, rng = _some_objects(1)[0], np.random.default_rng(0)
    still = dataclasses.replace(obj, x=obj.x[[0, 0]], y=obj.y[[0, 0]], angle=obj.angle[[0, 0]])
    for kind, same in (("deformation", False), ("occlusion", True)):
        burst = toy_damage.Burst(kind, 0, 1, np.mean(toy_damage.SEVERITY[kind]), 0.7, 5)
        first, second = (toy_damage.damaged_layer(still, t, burst, rng)[0] for t in (0, 1))
        assert np.array_equal(first, second) == same


def test_occluder_covers_the_share_of_the_body_it_says():
    obj = _some_objects(1)[0]
    for share in toy_damage.SEVERITY["occlusion"]:
        burst = toy_damage.Burst("occlusion", 0, 3, share, 0.7, 5)
        clean, _ = toy_scene.draw_layer(obj, 0)
        layer, _ = toy_damage.damaged_layer(obj, 0, burst, None)
        covered = (np.abs(layer - clean).max(axis=2) > 1e-3)[clean[..., 3] > 0.5].mean()
        assert abs(covered - share) < 0.06


def test_still_has_four_clean_objects_with_room():
    still = toy.still_image(0, 0)
    assert still.frames[0].shape == (144, 144, 3) and still.deterioration == ["clean"]
    (boxes,) = still.boxes
    assert [box[0] for box in boxes] == [0, 1, 2, 3]
    assert all(box[4] - box[2] > 24 and box[5] - box[3] > 24 for box in boxes)


def test_crop_batch_draws_all_classes_and_goes_on_with_its_generator():
    rng = np.random.default_rng(0)
    images, labels = toy.crop_batch(rng, 80)
    again, _ = toy.crop_batch(rng, 2)
    assert images.shape == (80, 48, 48, 3) and images.dtype == np.uint8
    assert set(labels.tolist()) == set(range(8))
    assert not np.array_equal(images[:2], again)


@pytest.mark.parametrize("arguments", [(-1, "val", 0), (0, "test", 0), (0, "val", -1)])
def test_bad_arguments_are_refused_in_one_line(arguments):
    with pytest.raises(InputError, match="^[^\n]+$"):
        toy.render_video(*arguments)
