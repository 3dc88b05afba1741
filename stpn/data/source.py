"""open_source: a file, folder, pattern, camera or iterable of arrays as one stream of frames."""

from __future__ import annotations

import glob
import os
import re

from ..errors import InputError
from .source_base import ArraySource, VideoSource
from .source_camera import CameraSource
from .source_file import VideoFile
from .source_images import ImageSource, is_image, list_folder, list_pattern

__all__ = ["VideoSource", "open_source"]

_ACCEPTED = "a video file, a folder or pattern of pictures, or camera:0"


def open_source(spec, *, fps=None, on_error="stop"):
    """-> VideoSource.

    spec: path of a video or picture; folder of pictures; pattern such as "frames/*.png" (natural order: 2
        before 10); "camera:N"; or a Python iterable of uint8 (H, W, 3) RGB arrays.
    fps: frames per second that replaces what the source says (25 where it says nothing).
    on_error: at an unreadable frame, "stop" ends the stream there (a folder raises InputError, a damaged
        video ends with partial set) and "skip" goes on with a Frame whose `error` says why.
    Raises InputError when there is nothing to read.
    """
    if isinstance(spec, VideoSource):
        return spec
    if not isinstance(spec, (str, os.PathLike)):
        if not hasattr(spec, "__iter__"):
            raise InputError(f"cannot read frames from a {type(spec).__name__}; expected {_ACCEPTED}, "
                             "or an iterable of uint8 (H, W, 3) arrays")
        return ArraySource(spec, fps=fps, on_error=on_error)
    spec = os.fspath(spec)
    if re.match(r"camera:", spec):
        return CameraSource(spec, fps=fps, on_error=on_error)
    if os.path.isdir(spec):
        return ImageSource(*list_folder(spec), folder=spec, kind="folder", fps=fps, on_error=on_error)
    if os.path.lexists(spec):
        return _open_file(spec, fps=fps, on_error=on_error)
    if glob.has_magic(spec):
        return ImageSource(*list_pattern(spec), folder=os.path.dirname(spec), kind="glob", fps=fps,
                           on_error=on_error)
    raise InputError(f"input not found: {spec}; expected {_ACCEPTED}")


def _open_file(path, *, fps, on_error):
    try:
        os.stat(path)
    except OSError as error:  # a link that leads nowhere or in a circle
        raise InputError(f"cannot read {path}: {error.strerror}; check the link") from None
    if is_image(path):
        return ImageSource([path], 0, folder=path, kind="file", fps=fps, on_error=on_error)
    return VideoFile(path, fps=fps, on_error=on_error)
