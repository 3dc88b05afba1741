"""Video files through PyAV: true time stamps, upright frames, and an honest count of what was lost."""

from __future__ import annotations

import heapq
from pathlib import Path

import av
import numpy as np

from ..errors import InputError
from .container import open_container, read_header
from .frame_reader import DEFAULT_FPS, Frame
from .source_base import VideoSource


class VideoFile(VideoSource):
    """A file that FFmpeg decodes. Frame.time is in seconds after the first frame, from the file's time
    stamps; with fps given it is index / fps instead."""

    def __init__(self, path, *, fps=None, on_error="stop"):
        self.path = path
        header = read_header(path)
        super().__init__(name=Path(path).stem, kind="file", fps=fps if fps is not None else header.fps,
                         length=header.length, on_error=on_error)
        self._declared = header.declared
        self._retimed = fps is not None
        if fps is None and header.fps is None:
            self._opening_warnings.append(f"{path} does not say its frame rate: {DEFAULT_FPS:g} frames per "
                                          "second are assumed; set another with --fps")
        self.warnings += self._opening_warnings

    def _frames(self, *, report):
        container, stream = open_container(self.path)
        index = lost = 0
        with container:
            passing = _DecodingPass(container, stream)
            clock = _Clock(None if self._retimed else stream.time_base, self.fps)
            for picture in passing:
                if picture is not None:
                    yield Frame(index=index, time=clock.read(index, picture.pts), image=upright_rgb(picture))
                elif self.on_error == "skip":
                    lost += 1
                    yield Frame(index=index, time=clock.read(index, None), image=None,
                                error=f"frame {index} of {self.path} cannot be decoded ({passing.fault})")
                else:
                    break
                index += 1
        if index == lost:
            why = f" ({passing.fault})" if passing.fault else ""
            raise InputError(f"{self.path} was opened, but no frame could be decoded{why}; "
                             "convert it to H.264 and try again")
        if report:
            self._report(index, lost, passing)

    def _report(self, count, lost, passing):
        """At most one line for what is missing, and one for what the decoder patched up."""
        whole = self._declared is None or count - lost >= self._declared
        if passing.fault or not whole:
            why = f"first fault at frame {passing.fault_index}: {passing.fault}" if passing.fault else \
                "the file is cut short or damaged"
            of = f"{count - lost} of {max(count, self._declared or 0)} declared frames"
            self._warn(f"{self.path}: decoded {of}; {why}", partial=lost > 0 or not whole)
        if passing.damaged:
            self._warn(f"{self.path}: frames damaged but shown as the decoder patched them: "
                       f"{passing.damaged}")


class _Clock:
    """Time of each frame in seconds after the first; frames without a time stamp follow at the frame rate."""

    def __init__(self, time_base, fps):
        self._time_base = time_base
        self._fps = fps
        self._first = self._last = None

    def read(self, index, pts):
        if self._time_base is None:
            return index / self._fps
        if pts is None:
            self._last = 0.0 if self._last is None else self._last + 1 / self._fps
            return self._last
        if self._first is None:  # frames lost before the first readable one count from 0
            before = 0 if self._last is None else self._last + 1 / self._fps
            self._first = pts - round(before / self._time_base)
        self._last = float((pts - self._first) * self._time_base)
        return self._last


class _DecodingPass:
    """Pictures of one stream in display order, None in the place of each that was lost to damage.

    Every packet announces a time stamp. Decoders report damage late and lose neighbours silently, so a
    picture counts as lost when, after a first error, one with a later time stamp comes out before it.
    """

    def __init__(self, container, stream):
        stream.thread_type = "AUTO"  # FFmpeg's own threads decode ahead while the model works
        self._container = container
        self._stream = stream
        self._awaited = []  # heap of time stamps
        self._count = 0
        self.fault = None  # the first error, in words
        self.fault_index = None
        self.damaged = 0

    def __iter__(self):
        for packet in self._packets():
            if packet.size and packet.pts is not None and not packet.is_discard:
                heapq.heappush(self._awaited, packet.pts)
            for picture in self._decode(packet):
                yield from self._lost_before(picture.pts)
                self._count += 1
                self.damaged += picture.is_corrupt
                yield picture
        yield from self._lost_before(float("inf"))

    def _packets(self):
        try:
            yield from self._container.demux(self._stream)
        except av.FFmpegError as error:
            self._note(error)

    def _decode(self, packet):
        """Pictures that this packet completes; the last, empty one flushes the decoder, past its errors."""
        for _ in range(1 if packet.size else 64):
            try:
                return packet.decode()
            except av.EOFError:
                return []
            except av.FFmpegError as error:
                self._note(error)
        return []

    def _lost_before(self, pts):
        while self._awaited and pts is not None and self._awaited[0] < pts:
            heapq.heappop(self._awaited)
            if self.fault:
                self.fault_index = self._count if self.fault_index is None else self.fault_index
                self._count += 1
                yield None
        if self._awaited and self._awaited[0] == pts:
            heapq.heappop(self._awaited)

    def _note(self, error):
        self.fault = self.fault or error.strerror


def upright_rgb(picture):
    """-> np.uint8 (H, W, 3); the display matrix of phones' videos is applied."""
    image = picture.to_ndarray(format="rgb24")
    matrix = picture.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    # x' = a x + c y, y' = b x + d y with a, b, c, d in {-1, 0, 1} (16.16 fixed point), y pointing down.
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5] / 65536
    if abs(b) > abs(a):
        image, a, d = image.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(image[::-1 if d < 0 else 1, ::-1 if a < 0 else 1])
