"""Single frames of video files by their number, equal to those of a pass over the whole file."""

import itertools
import logging
import os
import threading
from collections import OrderedDict

import av

from ..errors import InputError
from .container import open_container
from .packet_index import packet_index
from .source_file import VideoFile, upright_rgb

logger = logging.getLogger(__name__)

OPEN_FILES = 4  # kept open by a process
RECENT_BYTES = 32 << 20  # decoded pictures kept of each open file: support frames lie near their key frame

_local = threading.local()  # .pid, .files: {path: _OpenFile}, oldest first
_slow = {}  # path of a file that has shown that it cannot be read by seeking: why
_inherited = []  # a parent's files: closing them here would wait for threads that only the parent has


def read_frame(path, i):
    """-> frame i (from 0) of a video file, np.uint8 (H, W, 3) RGB, upright: bit-equal to the i-th frame of
    VideoFile(path). It seeks to the key frame before and decodes from there; where a file's time stamps do not
    allow that, it decodes from the start. InputError when there is no such frame or it cannot be decoded."""
    return _open(os.fspath(path)).read(i)


def _open(path):
    # A forked worker must not read through its parent's files: both would move one position.
    if getattr(_local, "pid", None) != os.getpid():
        _inherited.append(getattr(_local, "files", None))
        _local.pid, _local.files = os.getpid(), OrderedDict()
    files = _local.files
    if path not in files:
        files[path] = _OpenFile(path)
    files.move_to_end(path)
    while len(files) > OPEN_FILES:
        files.popitem(last=False)[1].close()
    return files[path]


class _OpenFile:
    """A video file read by seeking, or by walking once seeking has shown to be unreliable."""

    def __init__(self, path):
        self._path = path
        index = packet_index(path)
        doubt = _slow.get(path) or index.doubt
        self._frames = self._walk(doubt) if doubt else _Seek(path, index)

    def read(self, i):
        try:
            return self._frames.read(i)
        except _Unreliable as error:
            self._frames.close()
            self._frames = self._walk(str(error))
            return self._frames.read(i)

    def close(self):
        self._frames.close()

    def _walk(self, why):
        """What was found out stays with the process: the file is closed when others are read, and opened again."""
        if self._path not in _slow:
            _slow[self._path] = why
            logger.warning("frames of %s are found by decoding it from the start, which is slow: %s; convert it, for "
                           "example to H.264 in .mp4", self._path, why)
        return _Walk(self._path)


class _Unreliable(Exception):
    """Seeking cannot give the frame; the message says why."""


class _Seek:
    """Frames by their time stamps: from the key frame before, or on from where the decoder is."""

    def __init__(self, path, index):
        self._path, self._index = path, index
        self._pictures, self._next = iter(()), len(index)  # a pass, and the number of the frame it gives next
        self._recent = _Recent()
        self._open()

    def read(self, i):
        stamps = self._index.stamps
        if i >= len(stamps):
            raise InputError(f"{self._path} has {len(stamps)} frames; frame {i} was asked for")
        if i in self._recent:
            return upright_rgb(self._recent[i])
        try:
            if i < self._next or self._index.start(i) > stamps[self._next]:
                self._jump(self._index.start(i))
            return upright_rgb(self._on_to(i))
        except av.FFmpegError as error:
            raise _Unreliable(f"decoding towards frame {i} failed ({error.strerror})") from error

    def close(self):
        self._pictures = iter(())
        self._container.close()

    def _open(self):
        self._container, self._stream = open_container(self._path)
        self._stream.thread_type = "NONE"  # the workers share the cores already

    def _jump(self, start):
        """Place the pass on the first frame that comes after the key frame of this time."""
        self._container.seek(int(start), stream=self._stream, backward=True)
        packets = self._from(start)
        if packets is None:  # the file's own index misleads: go there packet by packet
            self.close()
            self._open()
            packets = self._from(start)
        if packets is None:
            raise _Unreliable("it does not give the same packets twice")
        # What is shown before the key frame may need an earlier one, and has not been asked for.
        self._pictures = (picture for packet in packets for picture in packet.decode()
                          if picture.pts is None or picture.pts >= start)
        self._next = int(self._index.stamps.searchsorted(start))

    def _from(self, start):
        """-> packets from the key frame of this time on, or None when the file is past it."""
        packets = itertools.dropwhile(lambda packet: packet.pts != start, self._container.demux(self._stream))
        first = next(packets, None)
        return None if first is None else itertools.chain([first], packets)

    def _on_to(self, i):
        for picture in self._pictures:
            number, self._next = self._next, self._next + 1
            # Another time than expected: packets and pictures are not one to one after all.
            if number >= len(self._index) or picture.pts != self._index.stamps[number]:
                break
            self._recent.add(number, picture, sum(plane.buffer_size for plane in picture.planes))
            if number == i:
                return picture
        raise _Unreliable(f"frame {i} did not come out where its time stamp says")


class _Walk:
    """Frames by passes of VideoFile from the start."""

    def __init__(self, path):
        self._file = VideoFile(path, on_error="skip")
        self._passing, self._next = None, 0  # a pass, and the number of the frame it gives next
        self._recent = _Recent()

    def read(self, i):
        if i in self._recent:
            return self._recent[i].copy()
        if self._passing is None or i < self._next:
            self.close()
            self._passing, self._next = iter(self._file), 0
        for frame in self._passing:
            self._next = frame.index + 1
            if frame.error is None:
                self._recent.add(frame.index, frame.image, frame.image.nbytes)
            elif frame.index == i:
                raise InputError(frame.error)
            if frame.index == i:
                return frame.image.copy()
        raise InputError(f"{self._file.path} has {self._next} frames; frame {i} was asked for")

    def close(self):
        if self._passing is not None:
            self._passing.close()


class _Recent(OrderedDict):
    """The latest pictures by frame number, RECENT_BYTES of them."""

    def add(self, number, picture, size):
        self[number] = picture
        while len(self) > max(1, RECENT_BYTES // size):
            self.popitem(last=False)
