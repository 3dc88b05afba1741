"""A camera as a source of frames, through OpenCV."""

from __future__ import annotations

import time

from ..errors import InputError
from .frame_reader import Frame
from .source_base import VideoSource

RETRIES = 5  # reads without a frame before the camera counts as unplugged
RETRY_PAUSE = 0.2  # seconds between them


class CameraSource(VideoSource):
    """Live frames, read when they are asked for; time is the seconds since the first one.

    A camera that returns no frame RETRIES times in a row ends the stream cleanly, with a warning.
    """

    def __init__(self, spec, *, fps=None, on_error="stop"):
        import cv2  # only cameras need its video part

        number = spec.partition(":")[2]
        if not number.isdecimal():
            raise InputError(f"{spec!r} names no camera; expected camera:N with a number, such as camera:0")
        self._capture = cv2.VideoCapture(int(number))
        if not self._capture.isOpened():
            self._capture.release()
            raise InputError(f"{spec} cannot be opened; check that it is plugged in, free and permitted")
        announced = self._capture.get(cv2.CAP_PROP_FPS)
        if fps is None and 1 <= announced <= 1000:
            fps = announced
        super().__init__(name=f"camera{number}", kind="camera", fps=fps, on_error=on_error, replayable=False)

    def _frames(self, *, report):
        index, start = 0, None
        while (image := self._read()) is not None:
            now = time.monotonic()
            start = now if start is None else start
            yield Frame(index=index, time=now - start, image=image)
            index += 1
        if index == 0:
            raise InputError(f"{self.name} opened but gave no frame; check that no other program uses it")
        self._warn(f"{self.name} gave no frame {RETRIES} times in a row: ended after {index} frames")

    def _read(self):
        """-> np.uint8 (H, W, 3) RGB, or None when the camera stays silent."""
        for attempt in range(RETRIES):
            if attempt:
                time.sleep(RETRY_PAUSE)
            good, image = self._capture.read()
            if good and image is not None:
                return image[:, :, ::-1].copy()  # OpenCV's BGR
        return None

    def close(self):
        self._capture.release()
