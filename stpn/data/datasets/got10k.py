"""GOT-10k: folders of single-object tracking -> a dict for each sequence. Also the layout of a user's own set.

    <folder>/list.txt                      a sequence's name on each line; missing: the folders in sorted order
    <folder>/<sequence>/%08d.jpg           from 00000001
                        groundtruth.txt    N lines "x,y,w,h": top left corner and size, pixels; hidden labels: 1 line
                        absence.label      N x {0, 1}     optional
                        cover.label        N x 0..8       optional; how much of the target is seen, in eighths
                        meta_info.ini      "resolution: (W, H)"; missing: that of the first picture
    <folder>/groups.json                   {"group": {"<sequence>": [frame from 0, ...]}}   optional; for evaluation
"""

import functools
import logging
import re
from pathlib import Path, PurePosixPath

import numpy as np

from ...errors import InputError
from ..text_file import read_text
from .frame_groups import read_groups
from .number_lines import refuse, told
from .numbered_pictures import Numbered, numbered_pictures, refuse_from_zero
from .track_labels import read_boxes, read_flags, refuse_length
from .track_record import folders_in, hidden_boxes, read_all, refuse_no_folder, sequence_dict

logger = logging.getLogger(__name__)

_RESOLUTION = re.compile(r"^\s*resolution\s*:\s*\(?\s*(\d+)\s*,\s*(\d+)\s*\)?\s*$", re.MULTILINE)


def load_got10k(folder, *, name, video_index, labelled=True, faults=None):
    """-> (dataset dicts, metadata) of one part (train, val or test).

    name: begins the video ids, "<name>/<sequence>"; video_index is filled with all sequences. A dict a sequence:
    {video_id, name: the sequence's, file_name: of the first frame, video_length T, height, width: pixels,
    boxes: (T, 4) float64 XYWH, absent: (T,) bool, cover: (T,) int64 in 0..8 or None}. labelled False: the labels are
    hidden but for the first box; the others are NaN, absent is False and cover None. A line of four NaN is a frame
    without the target: its box is 0, 0, 0, 0. metadata: {has_labels, image_root, frame_groups: {group: {name of a
    sequence: [frame indices]}}, None without groups.json}.
    Pictures need not be there for labelled sets whose meta_info.ini tells their size.
    All faults are logged, one a sequence, and InputError raised with the first. faults: a list that takes them instead;
    the sound sequences are returned."""
    folder = Path(folder)
    dicts = read_all(lambda sequence: _sequence(folder / sequence, f"{name}/{sequence}", video_index, labelled),
                     sequence_names(folder, faults=faults), name=name, faults=faults)
    groups, lengths = folder / "groups.json", {record["name"]: record["video_length"] for record in dicts}
    # Where sequences with faults are left out, groups may name them.
    frame_groups = read_groups(groups, lengths, key="name of a sequence") if groups.is_file() and not faults else None
    return dicts, {"has_labels": labelled, "image_root": str(folder), "frame_groups": frame_groups}


def sequence_names(folder, *, faults=None):
    """-> names of the sequences, as list.txt has them; without it the names of the folders, sorted. faults: a list that
    takes those of list.txt, whose sound lines then count."""
    path = folder / "list.txt"
    refuse_no_folder(folder)
    if path.is_file():
        text = read_text(path, expected="the name of a sequence on each line")
        lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        wrong = list(_wrong_names(lines, folder))
        refuse(path, wrong if faults is None else [])
        names = [name for number, name in lines if number not in dict(wrong)]
        if faults is not None:
            faults += told(path, wrong)
    else:
        names = folders_in(folder)
        _warn_of_no_list(path, len(names))
    if not names:
        raise InputError(f"{folder} has no sequences; expected list.txt and a folder for each")
    return names


@functools.cache  # once: evaluation and its evaluator, or several models, read the same set
def _warn_of_no_list(path, count):
    found = f"{count} folders" if count != 1 else "1 folder"
    logger.warning("%s is missing: taken %s the %s beside it, in sorted order", path, "are" if count != 1 else "is",
                   found)


def _wrong_names(lines, folder):
    seen = set()
    for number, name in lines:
        if PurePosixPath(name).name != name or name == "..":
            yield number, f"{name[:60]!r} is no name of a folder beside this file"
        elif name in seen:
            yield number, f"{name} stands in an earlier line already; take one out"
        elif not (folder / name).is_dir():
            yield number, f"there is no folder {name}; add it, or take the line out"
        seen.add(name)


def _sequence(path, video_id, video_index, labelled):
    pictures, boxes = numbered_pictures(path), read_boxes(path / "groundtruth.txt")
    refuse_from_zero(path, pictures)
    length = _length(path, pictures, len(boxes), labelled)
    pictures = pictures or Numbered.of(path, first=1, last=length)
    # Not pictures.first: where the first is missing, the others keep their numbers.
    video_index.add(video_id, pictures.pattern, length, first=1)
    absent = cover = None
    if labelled:
        boxes, absent, cover = _visibility(path, boxes)
    else:
        boxes = hidden_boxes(path / "groundtruth.txt", boxes, length)
    return sequence_dict(video_id, path.name, video_index, boxes=boxes, absent=absent, cover=cover,
                         size=_size(path / "meta_info.ini"))


def _length(path, pictures, rows, labelled):
    """-> number of frames. The largest number counts: pictures missing between others are for the checks before
    training and evaluation."""
    if pictures is None and not labelled:
        raise InputError(f"{path} has no pictures; expected 00000001.jpg and those that follow")
    length = rows if pictures is None else pictures.last
    if labelled or rows != 1:
        refuse_length(path / "groundtruth.txt", rows, length, f"the last picture has number {length}", pictures=True)
    return length


def _visibility(path, boxes):
    """-> boxes without NaN, absent, cover."""
    absence = read_flags(path / "absence.label", high=1, length=len(boxes))
    cover = read_flags(path / "cover.label", high=8, length=len(boxes))
    nothing = np.isnan(boxes[:, 0])
    seen = cover > 0 if cover is not None else absence == 0 if absence is not None else np.zeros(len(boxes), dtype=bool)
    label = "cover.label" if cover is not None else "absence.label"
    refuse(path / "groundtruth.txt", [(row + 1, f"is NaN, but {label} says that the target is seen in this frame")
                                      for row in np.flatnonzero(nothing & seen)])
    absent = nothing if absence is None else nothing | (absence == 1)
    return np.where(nothing[:, None], 0.0, boxes), absent, cover


def _size(path):
    """-> (W, H) in pixels: what the toolkit goes by, without a look at the pictures. None where it is not told."""
    found = _RESOLUTION.search(read_text(path, expected="lines key: value")) if path.is_file() else None
    width, height = map(int, found.groups()) if found else (0, 0)
    return (width, height) if width and height else None
