"""What the converters into the plain video format (datasets/README.md) have in common."""

import math
import os
import shlex
from collections import Counter
from pathlib import Path

from ...errors import InputError
from ..datasets import write_video_json
from ..datasets.image_sets import data_folder


class PlainSet:
    """The four tables of the plain format as they grow, and what could not be taken over.

    classes: names, in the order of the category ids 1, 2, ...; objects of others are dropped.
    dropped: Counter of reasons; notes: what the user should know besides.
    """

    def __init__(self, classes):
        classes = list(classes)
        twice = [name for name, count in Counter(classes).items() if count > 1]
        if twice or not classes:
            raise InputError(f"the class names are {', '.join(classes) or 'none'}; expected at least one, each once")
        self._categories = {name: i for i, name in enumerate(classes, 1)}
        self._videos, self._images, self._annotations = [], [], []
        self._names = set()  # of videos
        self.found = Counter()  # boxes by class, those of classes that are not wanted included
        self.dropped, self.notes = Counter(), []

    def add_video(self, file_name, *, size=None, length=None):
        """file_name: relative to the JSON file; size: (width, height) or None. -> video id."""
        if file_name in self._names:
            raise InputError(f"two annotations are of one video, {file_name}; give each of them its own")
        self._names.add(file_name)
        video = {"id": len(self._videos) + 1, "file_name": file_name, **_sides(size)}
        if length is not None:
            video["length"] = length
        self._videos.append(video)
        return video["id"]

    def add_frame(self, video_id, frame_index, *, size=None):
        """A labelled frame, with or without objects; frame_index counts from 0. -> image id."""
        self._images.append({"id": len(self._images) + 1, "video_id": video_id, "frame_index": frame_index,
                             **_sides(size)})
        return len(self._images)

    def add_box(self, image_id, label, corners, *, track=None, **flags):
        """corners: x1, y1, x2, y2 in pixels; flags: iscrowd, occluded, generated (0 or 1; zeros are not written).
        A box with a corner that is no finite number, or of a class that is not wanted, is dropped and counted."""
        self.found[label] += 1
        if label not in self._categories:
            self.dropped[f"boxes of class {label!r}"] += 1
            return
        if not all(map(math.isfinite, corners)):
            self.dropped["boxes with a corner that is not a number"] += 1
            return
        x1, y1, x2, y2 = corners
        row = {"id": len(self._annotations) + 1, "image_id": image_id, "category_id": self._categories[label],
               "bbox": [_short(value) for value in (x1, y1, x2 - x1, y2 - y1)]}
        if track is not None:
            row["track_id"] = track
        self._annotations.append(row | {name: 1 for name, value in flags.items() if value})

    @property
    def classes(self):
        return list(self._categories)

    def content(self):
        """-> what the JSON file holds."""
        return {"categories": [{"id": i, "name": name} for name, i in self._categories.items()],
                "videos": self._videos, "images": self._images, "annotations": self._annotations}


def chosen(classes, known):
    """-> names of the classes to keep: classes, or all that the annotations know where it is None.

    InputError for one that they do not know: a typo would only make all boxes of it disappear."""
    known = list(known)
    unknown = [name for name in classes or () if name not in known]
    if unknown:
        raise InputError(f"--classes names {', '.join(unknown)}; the annotations know {', '.join(known) or 'none'}")
    return list(classes or known)


def _sides(size):
    return {} if size is None else {"width": size[0], "height": size[1]}


def _short(value):
    """Sums of decimal fractions without their rounding dust: 0.1 + 0.2 is 0.3 to a billionth of a pixel."""
    value = round(float(value), 9)
    return int(value) if value.is_integer() else value


def relative(path, output):
    """-> a video's path as the JSON file `output` names it: relative to the file's folder, with slashes."""
    path, folder = os.path.abspath(path), os.path.dirname(os.path.abspath(output))
    found = os.path.relpath(path, folder)
    if found.startswith(os.pardir):  # ".." out of a linked folder leads to where its target lies
        found = os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
    return found.replace(os.sep, "/")


def add_options(parser):
    """The options that all converters have."""
    parser.add_argument("--output", required=True, metavar="FILE.json",
                        help="JSON file to write, best below DETECTRON2_DATASETS (default ./datasets)")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.add_argument("--classes", nargs="+", metavar="NAME",
                        help="classes to keep, in order; use the same for training and validation")


def prepare_output(path, *, overwrite):
    """Check before any work that the JSON file can be written -> Path. Its folder is made."""
    path = Path(path)
    if path.suffix != ".json":
        raise InputError(f"--output is {path}; expected a name that ends in .json")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; choose another --output, or replace it with --overwrite")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def save(plain, path):
    """Write a PlainSet -> lines that say what was written, what was dropped, and what to do next."""
    content = plain.content()
    if not content["images"]:
        raise InputError("nothing is left to write: no frame of any video; " + _dropped(plain))
    if not content["annotations"]:
        found = ", ".join(f"{name} ({count})" for name, count in plain.found.most_common()) or "none"
        raise InputError(f"nothing is left to write: no box of the classes {', '.join(plain.classes)}; found boxes of: "
                         f"{found}; {_dropped(plain)}")
    write_video_json(path, **content)
    rows = {table: len(content[table]) for table in content}
    return [f"wrote {path}: {rows['videos']} videos, {rows['images']} labelled frames, {rows['annotations']} boxes, "
            f"{rows['categories']} classes", _dropped(plain), *(f"note: {note}" for note in plain.notes),
            f"next: {next_command(path)}"]


def next_command(path):
    """-> the command that checks the data set in this JSON file."""
    path, base, prefix = path.absolute(), data_folder(), ""
    if base not in path.parents:
        base = path.parent.parent
        prefix = f"DETECTRON2_DATASETS={shlex.quote(str(base))} "
    name = path.relative_to(base).with_suffix("").as_posix()
    return f"{prefix}python datasets/check.py {shlex.quote(name)}"


def _dropped(plain):
    reasons = "; ".join(f"{count} {reason}" for reason, count in plain.dropped.items() if count)
    return f"dropped: {reasons or 'nothing'}"
