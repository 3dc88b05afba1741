"""VideoIndex: which frames each video of a data set has, as pictures or in a video file, and how to read them."""

from dataclasses import dataclass

from ..errors import InputError
from . import file_reader, frame_access
from .frame_reader import DEFAULT_FPS, Frame, FrameReader
from .image import read_image

__all__ = ["DEFAULT_FPS", "Frame", "FrameReader", "VideoIndex", "read_image"]


@dataclass(frozen=True)
class _Pictures:
    """frames: a pattern, or the paths in order. length: number of frames. first: number of frame 0 in the pattern."""

    frames: str | tuple
    length: int
    first: int = 0

    def path(self, i):
        return self.frames.format(i + self.first) if isinstance(self.frames, str) else self.frames[i]


@dataclass(frozen=True)
class _File:
    file: str
    length: int

    def path(self, i):
        return f"{self.file}#{i}"


class VideoIndex:
    """Every frame of each video, held once: a pattern and a length instead of a list a sample. Plain values
    only, so that it goes to worker processes; what is open belongs to the process that reads."""

    def __init__(self):
        self._videos = {}  # video_id -> _Pictures or _File

    def add(self, video_id, pattern_or_paths, length=None, *, first=0):
        """pattern_or_paths: "/data/val/x/{:06d}.JPEG" (needs length; braces that belong to the path are
        doubled; first: the number of frame 0), or the frames' paths in order."""
        if not isinstance(pattern_or_paths, str):
            pattern_or_paths = tuple(map(str, pattern_or_paths))
            if length not in (None, len(pattern_or_paths)):
                raise ValueError(f"video {video_id}: {len(pattern_or_paths)} paths but length {length}")
            length = len(pattern_or_paths)
        self._videos[video_id] = _Pictures(pattern_or_paths, _checked(video_id, length), first)

    def add_file(self, video_id, path, length):
        """path: of a video file with `length` frames."""
        self._videos[video_id] = _File(str(path), _checked(video_id, length))

    def path(self, video_id, i):
        """Path of frame i (0-based); "<video file>#<i>" for a frame of a video file."""
        return self._entry_with(video_id, i).path(i)

    def paths(self, video_id):
        return [self.path(video_id, i) for i in range(self.length(video_id))]

    def file(self, video_id):
        """Path of the video file, None for a video of pictures."""
        return getattr(self._get(video_id), "file", None)

    def read(self, video_id, i):
        """-> frame i, np.uint8 (H, W, 3) RGB. Of a file: exactly the i-th frame of a pass over it."""
        entry = self._entry_with(video_id, i)
        return read_image(entry.path(i)) if isinstance(entry, _Pictures) else frame_access.read_frame(entry.file, i)

    def read_towards(self, video_id, i, t):
        """-> the first readable one of the frames i, the next nearer to t, ..., t: what stands in for a
        support frame that is missing or damaged, where the user allows that."""
        return self.find_towards(video_id, i, t)[1]

    def find_towards(self, video_id, i, t):
        """-> (index, frame) of what read_towards takes."""
        step = 1 if t > i else -1
        for candidate in range(i, t, step):
            try:
                return candidate, self.read(video_id, candidate)
            except InputError:
                continue
        return t, self.read(video_id, t)

    def reader(self, video_id, prepare=None):
        """-> FrameReader, or for a video file a FileReader, which has the same methods."""
        entry = self._get(video_id)
        if isinstance(entry, _File):
            return file_reader.FileReader(entry.file, entry.length, prepare=prepare, name=video_id)
        return FrameReader(self.paths(video_id), prepare=prepare, name=video_id)

    def length(self, video_id):
        return self._get(video_id).length

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

    def _entry_with(self, video_id, i):
        entry = self._get(video_id)
        if not 0 <= i < entry.length:
            raise IndexError(f"video {video_id} has frames 0..{entry.length - 1}; asked for {i}")
        return entry


def _checked(video_id, length):
    if length is None or length < 1:
        raise ValueError(f"video {video_id}: length is {length}; expected at least one frame")
    return int(length)
