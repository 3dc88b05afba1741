"""Videos that lie on disk as picture files: VideoIndex knows the paths, FrameReader decodes ahead."""

import collections
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from .image import read_image

__all__ = ["Frame", "FrameReader", "VideoIndex", "read_image"]

DEFAULT_FPS = 25.0


@dataclass
class Frame:
    """One frame of a video. index counts from 0, time is in seconds, image is np.uint8 (H, W, 3) RGB."""

    index: int
    time: float
    image: np.ndarray
    name: str | None = None
    error: str | None = None


class VideoIndex:
    """Paths of every frame of each video, held once: a pattern and a length instead of a list a sample."""

    def __init__(self):
        self._videos = {}  # video_id -> (pattern or tuple of paths, length)

    def add(self, video_id, pattern_or_paths, length=None):
        """pattern_or_paths: "/data/val/x/{:06d}.JPEG" (needs length; braces that belong to the path are
        doubled), or the frames' paths in order."""
        if not isinstance(pattern_or_paths, str):
            pattern_or_paths = tuple(map(str, pattern_or_paths))
            if length not in (None, len(pattern_or_paths)):
                raise ValueError(f"video {video_id}: {len(pattern_or_paths)} paths but length {length}")
            length = len(pattern_or_paths)
        if length is None or length < 1:
            raise ValueError(f"video {video_id}: length is {length}; expected at least one frame")
        self._videos[video_id] = (pattern_or_paths, int(length))

    def path(self, video_id, i):
        """Path of frame i (0-based)."""
        frames, length = self._get(video_id)
        if not 0 <= i < length:
            raise IndexError(f"video {video_id} has frames 0..{length - 1}; asked for {i}")
        return frames.format(i) if isinstance(frames, str) else frames[i]

    def paths(self, video_id):
        return [self.path(video_id, i) for i in range(self.length(video_id))]

    def length(self, video_id):
        return self._get(video_id)[1]

    def clear(self):
        self._videos.clear()

    def __contains__(self, video_id):
        return video_id in self._videos

    def __iter__(self):
        return iter(self._videos)

    def __len__(self):
        return len(self._videos)

    @classmethod
    def merge(cls, *indexes):
        """One index over several data sets. The same id for two different videos is an error."""
        merged = cls()
        for index in indexes:
            for video_id, entry in index._videos.items():
                if merged._videos.setdefault(video_id, entry) != entry:
                    raise InputError(f"two data sets have different videos called {video_id}: "
                                     f"{merged.path(video_id, 0)} and {index.path(video_id, 0)}; rename one")
        return merged

    def _get(self, video_id):
        if video_id not in self._videos:
            raise KeyError(f"no video {video_id!r} among the {len(self)} of this index")
        return self._videos[video_id]


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
        indices = sorted(set(indices))
        if indices and not 0 <= indices[0] <= indices[-1] < self.length:
            raise IndexError(f"frames 0..{self.length - 1} exist; asked for {indices[0]}..{indices[-1]}")
        return self._run(indices)

    def close(self):
        """Nothing stays open between passes."""

    def _run(self, indices):
        """Keep `ahead` frames decoded or being decoded: the bounded queue is the deque of their futures."""
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stpn-frames")
        todo = iter(indices)
        try:
            pending = collections.deque(executor.submit(self._load, i)
                                        for i in itertools.islice(todo, self._ahead))
            while pending:
                item = pending.popleft()
                pending.extend(executor.submit(self._load, i) for i in itertools.islice(todo, 1))
                yield item.result()
        finally:
            executor.shutdown(wait=True, cancel_futures=True)

    def _load(self, i):
        path = self._paths[i]
        try:
            image = read_image(path)
        except InputError as error:
            raise InputError(f"frame {i}{f' of {self.name}' if self.name else ''}: {error}") from error
        frame = Frame(index=i, time=i / self.fps, image=image, name=Path(path).name)
        return frame if self._prepare is None else self._prepare(frame)
