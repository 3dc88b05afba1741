"""Frame, and FrameReader: the pictures of one video as a stream, decoded ahead."""

import collections
import functools
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from .image import read_image

DEFAULT_FPS = 25.0


@dataclass
class Frame:
    """One frame of a video. index counts from 0, time is in seconds, image is np.uint8 (H, W, 3) RGB."""

    index: int
    time: float
    image: np.ndarray
    name: str | None = None
    error: str | None = None


class FrameReader:
    """The frames of one video as a stream: `length`, iteration (a fresh pass each time) and `select`.

    A thread decodes up to `ahead` frames before they are asked for; it ends with the pass, also when the pass
    is abandoned. Yields Frame, or prepare(Frame) computed in that thread.
    Errors of a frame are raised where it is asked for, as InputError with the frame's index and path.
    """

    def __init__(self, paths, *, prepare=None, ahead=2, fps=DEFAULT_FPS, name=None):
        self._paths = list(paths)
        self._prepare = prepare
        self._ahead = max(1, ahead)
        self.fps = fps
        self.name = name

    @property
    def length(self):
        return len(self._paths)

    __len__ = length.fget

    def __iter__(self):
        return self._run(range(self.length))

    def select(self, indices):
        """The same items for these frame indices only, each once, in ascending order."""
        return self._run(existing(indices, self.length))

    def close(self):
        """Nothing stays open between passes."""

    def _run(self, indices):
        return run_ahead((functools.partial(self._load, i) for i in indices), self._ahead)

    def _load(self, i):
        path = self._paths[i]
        try:
            image = read_image(path)
        except InputError as error:
            raise InputError(f"frame {i}{f' of {self.name}' if self.name else ''}: {error}") from error
        frame = Frame(index=i, time=i / self.fps, image=image, name=Path(path).name)
        return frame if self._prepare is None else self._prepare(frame)


def existing(indices, length):
    """-> the indices, each once, ascending; IndexError for one that a video of `length` frames lacks."""
    indices = sorted(set(indices))
    if indices and not 0 <= indices[0] <= indices[-1] < length:
        raise IndexError(f"frames 0..{length - 1} exist; asked for {indices[0]}..{indices[-1]}")
    return indices


def run_ahead(tasks, ahead):
    """Yield the result of each task (a callable without arguments), in order; one thread works on up to
    `ahead` tasks before they are asked for. The bounded queue is the deque of their futures."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stpn-frames")
    tasks = iter(tasks)
    try:
        pending = collections.deque(executor.submit(task) for task in itertools.islice(tasks, ahead))
        while pending:
            item = pending.popleft()
            pending.extend(executor.submit(task) for task in itertools.islice(tasks, 1))
            yield item.result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
