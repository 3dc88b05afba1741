"""Whole video files of a data set: their length and size, and FileReader, a pass with FrameReader's methods."""

import functools
import itertools
import logging
import os
from typing import NamedTuple

from ..errors import InputError
from .frame_reader import existing, run_ahead
from .packet_index import frame_count, packet_index
from .source_file import VideoFile

logger = logging.getLogger(__name__)

_END = object()


class FileFacts(NamedTuple):
    """length in frames; width, height in pixels, upright."""

    length: int
    width: int
    height: int


def file_facts(path):
    """-> FileFacts of a video file, kept for the process while the file stays as it is; InputError if it is not
    a video. The first frame is decoded: the size with its rotation is known for certain only then."""
    info = os.stat(path)
    return _facts(os.fspath(path), info.st_size, info.st_mtime_ns)


@functools.lru_cache(maxsize=100_000)
def _facts(path, size, changed):
    passing = iter(VideoFile(path))
    height, width = next(passing).image.shape[:2]
    passing.close()
    length = frame_count(path)
    if length is None:
        logger.warning("the frames of %s can only be counted by decoding them: %s", path, packet_index(path).doubt)
        length = sum(1 for _ in VideoFile(path, on_error="skip"))
    return FileFacts(length, width, height)


class FileReader:
    """A video file with FrameReader's methods: decoded from its start by VideoFile, a few frames ahead.

    InputError where the file gives fewer or more frames than `length`: figures of the others would be wrong.
    """

    def __init__(self, path, length, *, prepare=None, ahead=2, name=None):
        self._source, self._prepare, self._ahead = VideoFile(path), prepare, max(1, ahead)
        self.path, self.length, self.fps, self.name = path, length, self._source.fps, name

    def __len__(self):
        return self.length

    def __iter__(self):
        return self._run(self._whole())

    def select(self, indices):
        """The same items for these frame indices only, each once, in ascending order."""
        return self._run(self._source.select(existing(indices, self.length)))

    def close(self):
        """Nothing stays open between passes."""

    def _whole(self):
        count = 0
        for frame in self._source:
            count += 1
            if count > self.length:
                break
            yield frame
        if count != self.length:
            got = "more than" if count > self.length else f"{count} of"
            raise InputError(f"{self.path} gave {got} {self.length} frames {self._source.warnings or ''}; replace the "
                             "file by a whole one, or take it out of the data set")

    def _run(self, frames):
        def load():
            frame = next(frames, _END)
            return frame if frame is _END or self._prepare is None else self._prepare(frame)

        items = run_ahead(itertools.repeat(load), self._ahead)
        try:
            yield from itertools.takewhile(lambda item: item is not _END, items)
        finally:
            items.close()  # the thread has ended before its pass is closed
            frames.close()
