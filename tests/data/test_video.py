import gc
import threading
import time
import warnings

import cv2
import numpy as np
import pytest

from stpn.data.video import Frame, FrameReader, VideoIndex
from stpn.errors import InputError


@pytest.fixture
def paths(tmp_path):
    names = [str(tmp_path / f"{i:06d}.png") for i in range(6)]
    for i, name in enumerate(names):
        cv2.imwrite(name, np.full((5, 4, 3), (i, 2 * i, 3 * i), np.uint8))
    return names


def _reader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("stpn-frames")]


def test_reader_yields_every_frame_in_order_and_again_on_a_second_pass(paths):
    reader = FrameReader(paths, fps=10.0)
    assert reader.length == len(reader) == 6
    for _ in range(2):
        frames = list(reader)
        assert [frame.index for frame in frames] == list(range(6))
        assert [frame.time for frame in frames] == pytest.approx([i / 10 for i in range(6)])
        assert all((frame.image == (3 * i, 2 * i, i)).all() for i, frame in enumerate(frames))
        assert frames[2].name == "000002.png"


def test_select_gives_the_same_frames_in_ascending_order(paths):
    reader = FrameReader(paths)
    picked = list(reader.select([4, 1, 4]))
    assert [frame.index for frame in picked] == [1, 4]
    assert np.array_equal(picked[1].image, list(reader)[4].image)
    with pytest.raises(IndexError, match="0..5"):
        reader.select([6])


def test_prepare_is_applied_in_the_reader_thread(paths):
    seen = []

    def prepare(frame):
        seen.append(threading.current_thread().name)
        return frame.index

    assert list(FrameReader(paths, prepare=prepare)) == list(range(6))
    assert all(name.startswith("stpn-frames") for name in seen)


@pytest.mark.parametrize("ahead", [1, 3])
def test_reader_decodes_at_most_ahead_frames_before_they_are_asked_for(paths, ahead):
    decoded = []
    stream = iter(FrameReader(paths, ahead=ahead, prepare=lambda frame: decoded.append(frame.index)))
    next(stream)
    deadline = time.monotonic() + 5
    while len(decoded) < 1 + ahead and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert len(decoded) == 1 + ahead
    stream.close()


def test_error_in_the_thread_is_raised_where_the_frame_is_asked_for(paths):
    (broken,) = paths[3:4]
    open(broken, "wb").close()
    stream = iter(FrameReader(paths, name="val/x"))
    assert [next(stream).index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match="frame 3 of val/x: .*000003.png"):
        next(stream)
    assert not _reader_threads()


@pytest.mark.parametrize("end", ["close", "forget", "exhaust"])
def test_abandoned_pass_leaves_no_thread_and_no_open_file(paths, end):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        stream = iter(FrameReader(paths))
        next(stream)
        if end == "close":
            stream.close()
        elif end == "exhaust":
            list(stream)
        del stream
        gc.collect()
    assert not _reader_threads()


def test_two_passes_at_once_do_not_disturb_each_other(paths):
    reader = FrameReader(paths)
    assert [(a.index, b.index) for a, b in zip(reader, reader, strict=True)] == [(i, i) for i in range(6)]


def test_index_holds_patterns_and_lists_of_paths():
    index = VideoIndex()
    index.add("val/x", "/data/{{odd}}/x/{:06d}.JPEG", 3)
    index.add("other", ["b.png", "a.png"])
    assert index.path("val/x", 2) == "/data/{odd}/x/000002.JPEG"
    assert index.paths("other") == ["b.png", "a.png"]
    assert index.length("val/x") == 3 and "val/x" in index and "y" not in index and len(index) == 2
    with pytest.raises(IndexError, match="0..2"):
        index.path("val/x", 3)
    with pytest.raises(KeyError, match="no video 'y'"):
        index.length("y")
    with pytest.raises(ValueError, match="length"):
        index.add("none", [])


def test_merged_index_refuses_two_videos_of_one_name():
    one, two = VideoIndex(), VideoIndex()
    one.add("x", ["1.png"])
    two.add("y", ["2.png"])
    assert set(VideoIndex.merge(one, two)) == {"x", "y"}
    assert len(one) == 1
    two.add("x", ["3.png"])
    with pytest.raises(InputError, match="called x: 1.png and 3.png"):
        VideoIndex.merge(one, two)


def test_frame_fields_have_defaults():
    frame = Frame(0, 0.0, np.zeros((1, 1, 3), np.uint8))
    assert frame.name is None and frame.error is None
