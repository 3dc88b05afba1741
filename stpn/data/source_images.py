"""Folders and patterns of pictures as a video, read by FrameReader."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from .frame_reader import Frame, FrameReader
from .source_base import VideoSource

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}


def is_image(path):
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def natural_key(path):
    """Sort key that reads runs of digits as numbers: 1.jpg, 2.jpg, 10.jpg. Case is ignored."""
    parts = re.split(r"([0-9]+)", os.path.basename(path).lower())
    return [(int(part), "") if i % 2 else (-1, part) for i, part in enumerate(parts)], path


def list_folder(folder):
    """-> (paths of its pictures in natural order, number of other entries)."""
    try:
        entries = [os.path.join(folder, name) for name in os.listdir(folder)]
    except OSError as error:
        raise InputError(f"cannot list folder {folder}: {error.strerror}; check its permissions") from None
    return _pictures(entries, f"folder {folder}")


def list_pattern(pattern):
    """-> (paths of the pictures that the shell pattern matches, number of other matches)."""
    return _pictures(glob.glob(pattern, recursive=True), f"pattern {pattern}")


def _pictures(entries, where):
    """A link without a target stays in: it is a frame that cannot be read, not a stray file."""
    found = [path for path in entries
             if is_image(path) and not os.path.basename(path).startswith(".") and not os.path.isdir(path)]
    if not found:
        raise InputError(f"{where} has no pictures ({len(entries)} other entries); expected files such as "
                         "0001.jpg or 0001.png (a video is given by its own file name)")
    return sorted(found, key=natural_key), len(entries) - len(found)


class ImageSource(VideoSource):
    """One picture file a frame."""

    def __init__(self, paths, strays, *, folder, kind, fps, on_error):
        """strays: entries that were left out, for one warning. folder: gives the source its name."""
        name = Path(folder).stem if kind == "file" else Path(os.path.abspath(folder)).name
        super().__init__(name=name or "frames", kind=kind, fps=fps, length=len(paths), on_error=on_error)
        self._reader = FrameReader(paths, fps=self.fps, name=name)
        if strays:
            self._opening_warnings.append(f"{folder}: {strays} entries that are not pictures were ignored")
        self.warnings += self._opening_warnings

    def _frames(self, *, report):
        failed, first, start = 0, None, 0
        while start < self.length:
            passing = self._reader.select(range(start, self.length))
            try:
                for frame in passing:
                    start = frame.index + 1
                    yield frame
            except InputError as error:
                if self.on_error == "stop":
                    raise InputError(f"{error} (or skip such frames with --on-error skip)") from error
                failed, first = failed + 1, first or error
                yield Frame(index=start, time=start / self.fps, image=None, error=str(error))
                start += 1
            finally:
                passing.close()
        if failed and report:
            self._warn(f"{failed} of {self.length} frames of {self.name} could not be read; first: {first}",
                       partial=True)

    def _select(self, wanted):
        for index in wanted:
            yield replace(self._nearest(index), index=index)

    def _nearest(self, index):
        """The readable frame nearest before index; without one, the nearest after it."""
        index = min(index, self.length - 1)
        for candidate in [*range(index, -1, -1), *range(index + 1, self.length)]:
            try:
                return next(self._reader.select([candidate]))
            except InputError as error:
                last = error
        raise last
