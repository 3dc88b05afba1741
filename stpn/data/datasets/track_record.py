"""What the readers of tracking sets share: the dict of a sequence, and the collection of faults of all sequences."""

import logging

import numpy as np

from ...errors import InputError
from ..image import picture_size
from .number_lines import refuse

logger = logging.getLogger(__name__)


def read_all(read, sequences, *, name, faults=None):
    """-> list of read(sequence). All faults are logged, one a sequence, and InputError raised with the first.

    faults: a list to which their texts are added instead: the sequences without one are returned."""
    dicts, problems = [], [] if faults is None else faults
    for sequence in sequences:
        try:
            dicts.append(read(sequence))
        except (InputError, FileNotFoundError) as error:
            problems.append(str(error))
    if faults is not None:
        return dicts
    if len(problems) > 1:
        for problem in problems:
            logger.error("%s: %s", name, problem)
        problems[0] += f" (faults in {len(problems)} sequences, all listed above)"
    if problems:
        raise InputError(problems[0])
    return dicts


def refuse_no_folder(folder):
    """FileNotFoundError where a part of a data set is not there."""
    if not folder.is_dir():
        raise FileNotFoundError(f"data set folder not found: {folder}; put or link it there or set DETECTRON2_DATASETS "
                                "to the folder above the set; see datasets/README.md for the expected tree")


def folders_in(folder):
    """-> names of the folders in it, sorted, without hidden ones."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def sequence_dict(video_id, name, video_index, *, boxes, size=None, absent=None, cover=None):
    """-> the dict of a sequence, see load_got10k. boxes: (T, 4) XYWH; size: (W, H) in pixels, None: that of the first
    picture, in video_index; absent: (T,) bool, None: the target is there in all frames; cover: (T,) int64 or None."""
    first, length = video_index.path(video_id, 0), len(boxes)
    width, height = size or picture_size(first)
    absent = np.zeros(length, dtype=bool) if absent is None else absent
    return {"video_id": video_id, "name": name, "file_name": first, "video_length": length, "height": height,
            "width": width, "boxes": boxes, "absent": absent, "cover": cover}


def hidden_boxes(path, boxes, length):
    """-> (length, 4): the first of these boxes, NaN where the labels are hidden. path: of their file, for InputError
    where the first is no box to track."""
    sound = np.isfinite(boxes[0]).all() and (boxes[0, 2:] > 0).all()
    refuse(path, [] if sound else [(1, "is no box to track; expected a finite one with a width and a height above 0")])
    return np.concatenate([boxes[:1], np.full((length - 1, 4), np.nan)])
