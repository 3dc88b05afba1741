"""GOT-10k: folders of single-object tracking -> a dict for each sequence. Also the layout of a user's own set.

    <folder>/list.txt                      a sequence's name on each line; missing: the folders in sorted order
    <folder>/<sequence>/%08d.jpg           from 00000001
                        groundtruth.txt    N lines "x,y,w,h": top left corner and size, pixels; hidden labels: 1 line
                        absence.label      N x {0, 1}     optional
                        cover.label        N x 0..8       optional; how much of the target is seen, in eighths
                        meta_info.ini      "resolution: (W, H)"; missing: that of the first picture
"""

import logging
import re
from pathlib import Path, PurePosixPath

import numpy as np

from ...errors import InputError
from ..image import picture_size
from ..text_file import read_text
from .number_lines import refuse
from .numbered_pictures import Numbered, numbered_pictures
from .track_labels import read_boxes, read_flags, refuse_length

logger = logging.getLogger(__name__)

_RESOLUTION = re.compile(r"^\s*resolution\s*:\s*\(?\s*(\d+)\s*,\s*(\d+)\s*\)?\s*$", re.MULTILINE)


def load_got10k(folder, *, name, video_index, labelled=True):
    """-> (dataset dicts, metadata) of one part (train, val or test).

    name: begins the video ids, "<name>/<sequence>"; video_index is filled with all sequences. A dict a sequence:
    {video_id, name: the sequence's, file_name: of the first frame, video_length T, height, width: pixels,
    boxes: (T, 4) float64 XYWH, absent: (T,) bool, cover: (T,) int64 in 0..8 or None}. labelled False: the labels are
    hidden but for the first box; the others are NaN, absent is False and cover None. A line of four NaN is a frame
    without the target: its box is 0, 0, 0, 0. metadata: {has_labels, image_root}.
    Pictures need not be there for labelled sets whose meta_info.ini tells their size.
    All faults are logged, one a sequence, and InputError raised with the first."""
    folder, dicts, problems = Path(folder), [], []
    for sequence in sequence_names(folder):
        try:
            dicts.append(_sequence(folder / sequence, f"{name}/{sequence}", video_index, labelled))
        except (InputError, FileNotFoundError) as error:
            problems.append(str(error))
    if len(problems) > 1:
        for problem in problems:
            logger.error("%s: %s", name, problem)
        problems[0] += f" (faults in {len(problems)} sequences, all listed above)"
    if problems:
        raise InputError(problems[0])
    return dicts, {"has_labels": labelled, "image_root": str(folder)}


def sequence_names(folder):
    """-> names of the sequences, as list.txt has them; without it the names of the folders, sorted."""
    path = folder / "list.txt"
    if not folder.is_dir():
        raise FileNotFoundError(f"data set folder not found: {folder}; put or link it there or set DETECTRON2_DATASETS "
                                "to the folder above the set; see datasets/README.md for the expected tree")
    if path.is_file():
        text = read_text(path, expected="the name of a sequence on each line")
        lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        refuse(path, list(_wrong_names(lines, folder)))
        names = [name for _, name in lines]
    else:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        logger.warning("%s is missing: taken are the %d folders beside it, in sorted order", path, len(names))
    if not names:
        raise InputError(f"{folder} has no sequences; expected list.txt and a folder for each")
    return names


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
    length = _length(path, pictures, len(boxes), labelled)
    pictures = pictures or Numbered(str(path).replace("{", "{{").replace("}", "}}") + "/{:08d}.jpg", 1, length)
    # Not pictures.first: where the first is missing, the others keep their numbers.
    video_index.add(video_id, pictures.pattern, length, first=1)
    width, height = _size(path / "meta_info.ini", video_index.path(video_id, 0))
    absent, cover = np.zeros(length, dtype=bool), None
    if labelled:
        boxes, absent, cover = _visibility(path, boxes)
    else:
        boxes = np.concatenate([boxes[:1], np.full((length - 1, 4), np.nan)])
    refuse(path / "groundtruth.txt", _first_box(boxes[0]) if not labelled else [])
    return {"video_id": video_id, "name": path.name, "file_name": video_index.path(video_id, 0),
            "video_length": length, "height": height, "width": width, "boxes": boxes, "absent": absent, "cover": cover}


def _length(path, pictures, rows, labelled):
    """-> number of frames. The largest number counts: pictures missing between others are for the checks before
    training and evaluation."""
    if pictures is None and not labelled:
        raise InputError(f"{path} has no pictures; expected 00000001.jpg and those that follow")
    length = rows if pictures is None else pictures.last
    if labelled or rows != 1:
        refuse_length(path / "groundtruth.txt", rows, length, f"the last picture has number {length}")
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


def _first_box(box):
    sound = np.isfinite(box).all() and (box[2:] > 0).all()
    return [] if sound else [(1, "is no box to track; expected a finite one with a width and a height above 0")]


def _size(path, first_picture):
    """-> (W, H) in pixels: what the toolkit goes by, without a look at the pictures."""
    found = _RESOLUTION.search(read_text(path, expected="lines key: value")) if path.is_file() else None
    width, height = map(int, found.groups()) if found else (0, 0)
    return (width, height) if width and height else picture_size(first_picture)
