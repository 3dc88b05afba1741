"""Sets in the plain JSON format as a CheckedSet: also what is sound in a file that the loader refuses."""

import os

from ...errors import InputError
from ..datasets.video_json_check import TABLES, check_tables, read_content
from ..datasets.video_on_disk import find_video
from ..frame_access import read_frame
from ..image import read_image
from .checked_set import CheckedBox, CheckedFrame, CheckedSet
from .sound_rows import refuse_lacking, sound_rows


class PlainSet(CheckedSet):
    """Entries with a problem of their own, and what refers to them, are reported but not counted."""

    format = "plain JSON format"
    inclusive = False

    def __init__(self, path, *, name):
        """path: of the JSON file. InputError when it is not JSON, or lacks a whole table."""
        self.name, self.place = name, str(path)
        content, problems = read_content(path)
        self._problems = problems or check_tables(content)
        refuse_lacking(path, self._problems)
        rows = sound_rows(content, self._problems, TABLES)
        names = {row["id"]: row["name"] for _, row in rows["categories"]}
        self._names, self.classes = names, [names[key] for key in sorted(names)]
        self._rows = {row["id"]: (i, row) for i, row in rows["videos"]}
        self._images = [(i, row) for i, row in rows["images"] if row["video_id"] in self._rows]
        self._boxes = {row["id"]: [] for _, row in self._images}
        for i, row in rows["annotations"]:
            if row["image_id"] in self._boxes and row["category_id"] in names:
                self._boxes[row["image_id"]].append((i, row))
        self._uncounted = sum(len(content[table]) for table in TABLES) - self._kept()
        self._videos = dict(self._find_videos())
        self.lengths = {row["file_name"]: self._length(key, row) for key, (_, row) in self._rows.items()}

    def __len__(self):
        return len(self._images)

    def report(self, findings):
        for where, message, kind, _ in self._problems:
            findings.add(kind, where, message)

    def frame(self, position, findings):
        i, image = self._images[position]
        video = self._rows[image["video_id"]][1]
        return CheckedFrame(f"images[{i}]", video["file_name"], image["frame_index"], self._size(image, video),
                            [self._box(j, row) for j, row in self._boxes[image["id"]]])

    def decode(self, positions):
        """Video by video, so that each file is opened once and read forwards."""
        images = self._images
        for position in sorted(positions, key=lambda k: (images[k][1]["video_id"], images[k][1]["frame_index"])):
            found, i = self._videos[images[position][1]["video_id"]], images[position][1]["frame_index"]
            if found is None or i not in found.sizes:
                continue  # has been reported, as has a file that is not there
            place = found.frames[i] if found.frames else f"{found.path}#{i}"
            if os.path.lexists(found.frames[i] if found.frames else found.path):
                yield position, place, _read(found, i)

    def notes(self):
        return [f"entries  {self._uncounted} with a problem, or that belong to one, are not counted above"] \
            if self._uncounted else []

    def _kept(self):
        return len(self._names) + len(self._rows) + len(self._images) + sum(map(len, self._boxes.values()))

    def _find_videos(self):
        """Yield (id, VideoOnDisk or None), and note the problems."""
        images = {key: {} for key in self._rows}
        for i, row in self._images:
            images[row["video_id"]][f"images[{i}]"] = row
        root = os.path.dirname(os.path.abspath(self.place))
        for key, (i, row) in self._rows.items():
            found, problems = find_video(row, images[key], root, where=f"videos[{i}]")
            self._problems += problems
            wrong = {problem.where.partition(".")[0] for problem in problems if problem.fatal}
            if wrong & images[key].keys():  # without these entries the others may be sound
                sound = {where: image for where, image in images[key].items() if where not in wrong}
                found, _ = find_video(row, sound, root, where=f"videos[{i}]")
            yield key, found

    def _length(self, key, row):
        return self._videos[key].length if self._videos[key] else row.get("length")

    def _size(self, image, video):
        found = self._videos[image["video_id"]]
        if found is not None and image["frame_index"] in found.sizes:
            return found.sizes[image["frame_index"]]
        size = tuple(image.get(side, video.get(side)) for side in ("width", "height"))
        return None if None in size else size

    def _box(self, i, row):
        track = row.get("track_id", -1)
        return CheckedBox(f"annotations[{i}].bbox", _corners(row["bbox"]), self._names[row["category_id"]],
                          None if track == -1 else track, bool(row.get("iscrowd", 0)))


def _read(found, i):
    """-> frame i of a VideoOnDisk, np.uint8 (H, W, 3) RGB, or the InputError."""
    try:
        return read_image(found.frames[i]) if found.frames else read_frame(found.path, i)
    except InputError as error:
        return error


def _corners(bbox):
    """[x, y, width, height] -> x1, y1, x2, y2; a whole number beyond the floats counts as infinite."""
    x, y, width, height = (_float(value) for value in bbox)
    return x, y, x + width, y + height


def _float(value):
    try:
        return float(value)
    except OverflowError:
        return float("inf")
