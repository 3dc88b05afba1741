"""Frames into an H.264 mp4 that browsers play, whole or not there at all."""

from __future__ import annotations

import contextlib
import logging
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from ..errors import atomic_path

logger = logging.getLogger(__name__)

_TICKS = 90000  # time stamps a second in the mp4
_BT709 = 1  # number of the colour standard in video headers, which browsers assume


class VideoWriter:
    """Context manager; write(image, time) appends a frame to an mp4 that browsers play (H.264, yuv420p, index
    at the front). The file gets its name when the block ends well; without a frame there is no file.

    The first frame decides the size, padded to even numbers; frames of another size are scaled into it with
    black borders, with one warning. Frames keep their time; fps fills in how long the last one stays.
    """

    def __init__(self, path, *, fps, comment=""):
        self.path = path
        self._fps = Fraction(fps).limit_denominator(1001)
        self._comment = comment
        self._stack = contextlib.ExitStack()
        self._container = None
        self._size = None  # (H, W) of the first frame
        self._warned = False
        self._last = -1

    def __enter__(self):
        return self

    def write(self, image, time):
        """image: np.uint8 (H, W, 3) RGB. time: seconds, growing."""
        with _plain_os_errors():
            if self._container is None:
                self._open(image.shape[:2])
            if image.shape[:2] != self._size:
                self._warn_size(image.shape)
                image = letterbox(image, self._size)
            self._mux(self._stream.encode(self._picture(image, time)))

    def __exit__(self, *error):
        if self._container is not None and error[0] is None:
            # Errors of the last bytes must reach the stack, so that it removes the temporary file.
            self._stack.callback(self._finish)
        return self._stack.__exit__(*error)

    def _open(self, size):
        part = self._stack.enter_context(atomic_path(self.path))
        self._container = av.open(f"file:{part}", "w", options={"movflags": "+faststart"})
        self._stack.callback(self._close)
        self._container.metadata["comment"] = self._comment
        stream = self._container.add_stream("libx264", rate=self._fps,
                                            options={"preset": "veryfast", "crf": "20"})
        stream.height, stream.width = (n + n % 2 for n in size)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, _TICKS)
        context.colorspace, context.color_range = _BT709, ColorRange.MPEG
        context.color_primaries = context.color_trc = _BT709
        self._size, self._stream = size, stream

    def _picture(self, image, time):
        height, width = self._size
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(image, "rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
        # Two frames at the same time would make the file invalid: the later one follows a tick after.
        self._last = picture.pts = max(self._last + 1, round(time * _TICKS))
        picture.time_base = Fraction(1, _TICKS)
        return picture

    def _mux(self, packets):
        for packet in packets:
            self._container.mux(packet)

    def _finish(self):
        with _plain_os_errors():
            self._mux(self._stream.encode(None))
            self._container.close()

    def _close(self):
        with contextlib.suppress(av.FFmpegError):
            self._container.close()

    def _warn_size(self, shape):
        if not self._warned:
            logger.warning("%s: frames of %dx%d after a first one of %dx%d; they are scaled into its size",
                           self.path, shape[1], shape[0], self._size[1], self._size[0])
        self._warned = True


def letterbox(image, size):
    """image scaled to fit into size (H, W) with its proportions kept, centred on black."""
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = (max(1, min(n, round(m * scale))) for n, m in zip(size, image.shape[:2], strict=True))
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    canvas = np.zeros((*size, 3), np.uint8)
    scaled = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    canvas[top:top + height, left:left + width] = np.asarray(scaled)
    return canvas


@contextlib.contextmanager
def _plain_os_errors():
    """FFmpeg's errors as the OSError that they are (a full disk, say), which scripts know how to report."""
    try:
        yield
    except av.FFmpegError as error:
        raise OSError(error.errno, error.strerror, error.filename) from error
