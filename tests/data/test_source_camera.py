"""Cameras, with a capture device that is played by a class: no test needs hardware."""

import itertools

import cv2
import numpy as np
import pytest

from stpn.data import source_camera
from stpn.data.source import open_source
from stpn.errors import InputError


class FakeCapture:
    """Gives `good` blue frames, `silent` reads without a frame, one green frame, and then nothing more."""

    opened, good, silent, fps = True, 2, 0, 12.0

    def __init__(self, number):
        self.reads, self.released = 0, False
        FakeCapture.last = self

    def isOpened(self):
        return self.opened

    def get(self, property):
        return self.fps

    def read(self):
        self.reads += 1
        if self.reads <= self.good:
            return True, np.full((2, 3, 3), (255, 0, 0), np.uint8)
        if self.reads == self.good + self.silent + 1:
            return True, np.full((2, 3, 3), (0, 255, 0), np.uint8)
        return False, None

    def release(self):
        self.released = True


@pytest.fixture
def camera(monkeypatch):
    """Factory of an opened camera source whose device has these attributes."""
    monkeypatch.setattr(source_camera, "RETRY_PAUSE", 0)

    def open_with(spec="camera:0", **attributes):
        monkeypatch.setattr(cv2, "VideoCapture", type("Capture", (FakeCapture,), attributes))
        return open_source(spec)

    return open_with


def test_camera_frames_are_rgb_in_order_with_growing_times(camera):
    source = camera(silent=source_camera.RETRIES - 1)
    frames = list(source)
    assert source.kind == "camera" and source.fps == 12 and source.length is None
    assert [tuple(f.image[0, 0]) for f in frames] == [(0, 0, 255), (0, 0, 255), (0, 255, 0)]
    assert [f.index for f in frames] == [0, 1, 2] and frames[0].time == 0
    assert all(a.time <= b.time for a, b in itertools.pairwise(frames))


def test_unplugged_camera_ends_cleanly_after_bounded_retries(camera):
    with camera(silent=1000) as source:
        assert len(list(source)) == 2
    assert FakeCapture.last.reads == 2 + source_camera.RETRIES
    assert FakeCapture.last.released and "ended after 2 frames" in source.warnings[0]


def test_camera_that_cannot_be_opened_or_stays_silent_is_refused(camera):
    with pytest.raises(InputError, match="cannot be opened"):
        camera(opened=False)
    with pytest.raises(InputError, match="gave no frame"):
        list(camera(good=0, silent=1000))


def test_camera_needs_a_number(camera):
    with pytest.raises(InputError, match="camera:N"):
        camera("camera:front")


def test_camera_cannot_be_selected_from(camera):
    with pytest.raises(InputError, match="causal"):
        camera().select([0])


def test_camera_without_a_frame_rate_gets_25(camera):
    assert camera(fps=0.0).fps == 25
