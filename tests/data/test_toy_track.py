"""Toy sequences for tracking: a pure function of the seed, labelled as GOT-10k is; absent targets are really gone."""

import itertools

import numpy as np
import pytest

from stpn.data import toy, toy_damage, toy_scene, toy_track
from stpn.data.toy_masks import body_mask
from stpn.errors import InputError

SIDE = toy_track.SIDE
NUMBERS = (0, 1, 2, 3)  # with every kind of absence, one and two distractors


@pytest.fixture(scope="module")
def sequences():
    return [toy_track.render_sequence(4, "val", number) for number in NUMBERS]


def target_of(sequence):
    return sequence.scene.objects[sequence.scene.target]


def test_same_arguments_give_the_same_sequence_and_others_another(sequences):
    again = toy_track.render_sequence(4, "val", 1)
    assert np.array_equal(sequences[1].frames, again.frames) and np.array_equal(sequences[1].boxes, again.boxes)
    assert np.array_equal(sequences[1].cover, again.cover) and sequences[1].states == again.states
    for other in ((5, "val", 1), (4, "train", 1)):
        assert not np.array_equal(again.frames[0], toy_track.render_sequence(*other).frames[0])
    assert len({found.frames[0].tobytes() for found in sequences}) == len(sequences)


def test_no_random_number_is_shared_with_the_video_of_the_same_seed_split_and_number():
    assert toy.generator(1, "train", 2).random() != toy.generator(1, "train", 2, 1).random()


def test_sequences_have_32_to_48_frames_and_one_label_of_each_kind_a_frame(sequences):
    for found in sequences:
        assert 32 <= len(found.frames) <= 48
        assert len(found.boxes) == len(found.cover) == len(found.cut) == len(found.states) == len(found.frames)
        assert {frame.shape for frame in found.frames} == {(SIDE, SIDE, 3)} and found.frames[0].dtype == np.uint8


def test_one_or_two_distractors_have_another_pattern_and_other_colours(sequences):
    counts = set()
    for found in sequences:
        target, patch = target_of(found), found.scene.absence == "behind"
        others = [obj for obj in found.scene.objects[:-1 if patch else None] if obj is not target]
        counts.add(len(others))
        assert all(obj.label != target.label and not np.allclose(obj.colours, target.colours) for obj in others)
    assert counts == {1, 2}


def test_first_frames_show_the_whole_target_clean(sequences):
    for found in sequences:
        assert found.states[:4] == ["clean"] * 4 and (found.cover[:4] == 8).all() and not found.cut[0]


def test_boxes_are_tight_around_the_body_within_the_frame_and_zero_where_it_is_absent(sequences):
    for found in sequences:
        for t in range(0, len(found.frames), 3):
            rows, columns = np.nonzero(body_mask(target_of(found), t, SIDE))
            if found.cover[t] == 0:
                assert not found.boxes[t].any()
                continue
            drawn = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert np.abs(found.boxes[t] - drawn).max() <= 1.5
            assert (found.boxes[t][:2] >= 0).all() and (found.boxes[t][:2] + found.boxes[t][2:] <= SIDE).all()


def seen_share(sequence, t):
    """Share of the target that is seen, by painting: the target white, then what lies over it black, on a canvas of
    the frame; against the target alone on one with room on all sides."""
    objects, place = sequence.scene.objects, sequence.scene.target
    painted = []
    for room, shown in ((0, objects[place:]), (4 * SIDE, objects[place:place + 1])):
        canvas = np.zeros((SIDE + 2 * room, SIDE + 2 * room, 3), np.float32)
        for colour, obj in zip((1.0, 0.0, 0.0, 0.0), shown):
            layer, (x, y) = toy_scene.draw_layer(obj, t)
            layer[..., :3] = colour * layer[..., 3:]
            toy_scene.paste(canvas, layer, (x + room, y + room))
        painted.append(canvas[..., 0].sum())
    return painted[0] / painted[1]


def test_cover_is_the_share_of_the_body_that_is_seen_in_eighths(sequences):
    for found in sequences[:5]:
        for t in range(0, len(found.frames), 4):
            assert abs(8 * seen_share(found, t) - found.cover[t]) < 0.5 + 0.15  # rounding; edges are painted softly


def test_all_kinds_of_absence_occur_and_the_target_comes_back(sequences):
    assert {found.scene.absence for found in sequences} == set(toy_track.ABSENCES)
    for found in sequences:
        gone = np.flatnonzero(found.cover == 0)
        if found.scene.absence == "none":
            assert not len(gone)
            continue
        assert 3 <= len(gone) <= 12 and gone[0] >= 4 and gone[-1] < len(found.frames) - 1
        middle = gone[len(gone) // 2]
        body = body_mask(target_of(found), middle, SIDE)
        assert body.any() == (found.scene.absence == "behind")
        if body.any():
            assert body_mask(found.scene.objects[-1], middle, SIDE)[body].mean() > 0.9


def test_frames_marked_as_cut_are_those_whose_body_crosses_the_border(sequences):
    assert any(found.cut.any() for found in sequences)
    for found in sequences:
        target = target_of(found)
        for t in range(len(found.frames)):
            u, v, (x0, y0) = toy_scene.coordinates(target, t)
            rows, columns = np.nonzero(toy_scene.inside_pixels(target, u, v) >= 0)
            outside = min(columns.min() + x0, rows.min() + y0, SIDE - 1 - columns.max() - x0,
                          SIDE - 1 - rows.max() - y0)
            assert found.cut[t] == (outside < 0) or outside in (-1, 0)  # less than a pixel: either may be said


def test_states_are_bursts_of_known_kinds_and_none_where_the_target_is_absent(sequences):
    assert {state for found in sequences for state in found.states} >= {"clean", None}
    for found in sequences:
        assert [state is None for state in found.states] == (found.cover == 0).tolist()
        assert set(found.states) <= {"clean", None, *toy_damage.KINDS}
        runs = [(state, len(list(run))) for state, run in itertools.groupby(found.states)]
        assert all(length <= 9 for state, length in runs if state not in ("clean", None))


def test_the_passing_patch_is_opaque(sequences):
    found = next(found for found in sequences if found.scene.absence == "behind")
    t = int(np.flatnonzero(found.cover == 0)[0])
    layer, _ = toy_track._patch_layer(found.scene.objects[-1], t, found.scene.texture)
    middle = len(layer) // 2
    assert layer[middle, middle, 3] == 1 and np.array_equal(layer[middle, middle, :3],
                                                            found.scene.texture[middle, middle])


@pytest.mark.parametrize("arguments", [(-1, "val", 0), (0, "test", 0), (0, "val", -1)])
def test_bad_arguments_are_refused_in_one_line(arguments):
    with pytest.raises(InputError, match="^[^\n]+$"):
        toy_track.render_sequence(*arguments)


def test_the_generator_still_draws_the_sequences_it_always_drew():
    found = toy_track.render_sequence(11, "val", 3)
    assert (len(found.frames), found.scene.absence, found.cover.sum()) == (42, "out", 267)
    assert [float(np.mean(image)) for image in found.frames[::12]] == pytest.approx(
        [99.407, 97.635, 101.391, 100.68], abs=0.02)
