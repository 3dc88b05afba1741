"""Data sets in ImageNet's layout (lists and XML files, VID and DET) as a CheckedSet."""

import functools
import os
from collections import Counter, defaultdict

from ...errors import InputError
from ..datasets import frame_xml, image_sets
from ..datasets.image_sets import EXTENSIONS, ListedFrame
from ..datasets.imagenet_vid import CLASSES, read_classes, read_list
from ..text_file import read_text
from .checked_set import CheckedBox, CheckedFrame, CheckedSet
from .lists import usable_frames


class LayoutSet(CheckedSet):
    """A list of ImageNet VID's kind."""

    format = "ImageNet VID's layout"
    _no_others = True  # an object of another class is a problem

    def __init__(self, root, lists, *, name, every=1):
        """root, lists, every: as in load_imagenet_vid. Raises what that raises when there is no list."""
        self.name, self.root, self._part = name, root, "VID"
        path, text = read_list(root, lists)
        frames, self._wrong_lines = usable_frames(text, path, root / "Data" / "VID")
        kept = set(list(dict.fromkeys(frame.video_id for frame in frames))[::every])
        self._hold(path, [frame for frame in frames if frame.video_id in kept], read_classes(root))

    def _hold(self, path, frames, table):
        self.place, self._frames, self._table = str(path), frames, table
        self.classes = list(table.values())
        self.lengths = {frame.video_id: frame.video_length for frame in frames}
        self._extensions = {}  # video id -> that of its pictures

    def __len__(self):
        return len(self._frames)

    def report(self, findings):
        for problem in self._wrong_lines:
            findings.add(*problem)
        positions = defaultdict(list)
        for position, frame in enumerate(self._frames):
            positions[frame.video_id].append(position)
        for video_id in self.lengths:
            self._report_video(video_id, positions[video_id], findings)

    def frame(self, position, findings):
        listed = self._frames[position]
        path = f"{self.root}/Annotations/{self._part}/{self._stem(listed)}.xml"
        try:
            size, objects = frame_xml.read_file(path)
        except FileNotFoundError:
            findings.add("missing annotation", path, f"frame {listed.frame_index} of {listed.video_id}")
            return None
        except InputError as error:
            findings.add("unreadable annotation", path, str(error))
            return None
        boxes = [self._box(found, f"{path} object {i}") for i, found in enumerate(objects)]
        for box, found in zip(boxes, objects, strict=True):
            if box.label is None and self._no_others:
                findings.add("unknown class", box.where,
                             f"{found.name!r} is not among the {len(self._table)} known ids")
        return CheckedFrame(path, listed.video_id, listed.frame_index, size, boxes)

    def picture(self, position):
        return self._picture(self._frames[position])

    def _stem(self, frame):
        return f"{frame.video_id}/{frame.frame_index:06d}"

    def _picture(self, frame):
        extension = self._extensions.get(frame.video_id, EXTENSIONS[0])
        return f"{self.root}/Data/{self._part}/{self._stem(frame)}{extension}"

    def _box(self, found, where):
        track = found.track if found.track >= 0 else None
        return CheckedBox(where, tuple(found.corners), self._table.get(found.name), track)

    def _report_video(self, video_id, positions, findings):
        """Compare a video's folder, listed once, with what its list lines expect."""
        folder, length = f"{self.root}/Data/{self._part}/{video_id}", self.lengths[video_id]
        names = _pictures(folder)
        extension = self._extensions[video_id] = _extension(names)
        missing = {i for i in range(length) if f"{i:06d}{extension}" not in names}
        labelled = Counter(self._frames[position].frame_index for position in positions)
        for i, count in labelled.items():
            if i in missing:
                findings.add("missing picture", f"{folder}/{i:06d}{extension}", f"frame {i} of {video_id}")
            if count > 1:
                findings.add("frame twice", self.place, f"frame {i} of {video_id} is listed {count} times")
        unlabelled = sorted(missing - labelled.keys())
        if unlabelled:
            findings.add("missing support", folder, f"{len(unlabelled)} of {length} frames have no picture, "
                                                    f"first {unlabelled[0]:06d}{extension}")
        if len(names) > length - len(missing):
            findings.add("length", folder, f"{len(names)} pictures, but the list says {length} frames")


class StillSet(LayoutSet):
    """A list of ImageNet DET pictures: each is a video of one frame, and other classes are no problem."""

    format = "ImageNet DET's layout"
    _no_others = False

    def __init__(self, root, lists, *, name):
        self.name, self.root, self._part = name, root, "DET"
        path = image_sets.find_list(root, lists)
        if path is None:
            raise image_sets.missing_list(root, lists)
        self._wrong_lines, frames = [], []
        text = read_text(path, expected="a list, one picture a line")
        for number, line in enumerate(text.splitlines(), 1):
            fields = line.split()
            if len(fields) > 2:
                self._wrong_lines.append(("list line", f"{path}:{number}", f"{len(fields)} columns; expected 1 or 2"))
            elif fields:
                frames.append(ListedFrame(fields[0], 0, 1, number))
        self._hold(path, frames, CLASSES)
        self._names = functools.lru_cache(maxsize=8)(_pictures)  # the list goes folder by folder
        self._others = {}  # position -> objects of other classes

    def frame(self, position, findings):
        frame = super().frame(position, findings)
        if frame is None:
            return None
        self._others[position] = sum(box.label is None for box in frame.boxes)
        return frame._replace(boxes=[box._replace(track=None) for box in frame.boxes])

    def notes(self):
        return [f"others   {sum(self._others.values())} objects of other classes: background in training"]

    def _stem(self, frame):
        return frame.video_id

    def _report_video(self, video_id, positions, findings):
        """Pictures that are listed once for each of their classes are as they should be."""
        folder, _, stem = f"{self.root}/Data/DET/{video_id}".rpartition("/")
        if f"{stem}{EXTENSIONS[0]}" not in self._names(folder):
            findings.add("missing picture", f"{folder}/{stem}{EXTENSIONS[0]}", f"listed {len(positions)} times")


def _pictures(folder):
    """-> set of the names of the pictures in a folder, empty when there is no such folder."""
    try:
        return {name for name in os.listdir(folder) if name.endswith(EXTENSIONS)}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _extension(names):
    """The extension that the loader looks for: that of the first frame; without one, of most pictures."""
    for extension in EXTENSIONS:
        if f"000000{extension}" in names:
            return extension
    common = Counter(os.path.splitext(name)[1] for name in names).most_common(1)
    return common[0][0] if common else EXTENSIONS[0]
