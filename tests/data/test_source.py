"""open_source: which source an input becomes, and arrays as frames."""

import numpy as np
import pytest

from stpn.data.source import open_source
from stpn.data.video import Frame
from stpn.errors import InputError


def pictures(count, size=(4, 6)):
    return [np.full((*size, 3), i, np.uint8) for i in range(count)]


def test_missing_input_names_the_path(tmp_path):
    with pytest.raises(InputError, match="no-such-clip.mp4"):
        open_source(str(tmp_path / "no-such-clip.mp4"))


def test_list_of_arrays_may_be_passed_over_again():
    source = open_source(pictures(3), fps=2)
    assert source.length == 3 and source.fps == 2
    for _ in range(2):
        assert [(f.index, f.time, int(f.image[0, 0, 0])) for f in source] == [
            (0, 0, 0),
            (1, 0.5, 1),
            (2, 1, 2),
        ]
    assert [int(f.image[0, 0, 0]) for f in source.select([2, 0])] == [0, 2]


def test_generator_of_arrays_is_read_once_and_cannot_be_selected_from():
    source = open_source(image for image in pictures(3))
    assert source.length is None and not source.replayable
    assert [f.index for f in source] == [0, 1, 2]
    with pytest.raises(InputError, match="causal"):
        source.select([0])


def test_grey_array_becomes_rgb_and_a_float_one_is_refused():
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    (frame,) = open_source([grey])
    assert (frame.image == grey[:, :, None]).all() and frame.image.shape == (2, 3, 3)
    with pytest.raises(InputError, match="frame 1 .*float64"):
        list(open_source([grey, grey / 255]))


def test_select_puts_the_nearest_readable_frame_in_the_place_of_an_unreadable_one():
    frames = [
        Frame(i, float(i), None if i in (0, 2) else image, error="bad" if i in (0, 2) else None)
        for i, image in enumerate(pictures(4))
    ]
    selected = list(open_source(frames, on_error="skip").select([0, 2, 3, 9]))
    assert [f.index for f in selected] == [0, 2, 3, 9]
    assert [int(f.image[0, 0, 0]) for f in selected] == [1, 1, 3, 3]


@pytest.mark.parametrize("arguments", [{"fps": 0}, {"fps": float("nan")}, {"on_error": "ignore"}])
def test_wrong_settings_are_refused(arguments):
    with pytest.raises(InputError):
        open_source(pictures(1), **arguments)


@pytest.mark.parametrize("spec", [7, None])
def test_something_that_holds_no_frames_is_refused(spec):
    with pytest.raises(InputError, match="cannot read frames from"):
        open_source(spec)


def test_opening_a_source_again_returns_it():
    source = open_source(pictures(1))
    assert open_source(source) is source
