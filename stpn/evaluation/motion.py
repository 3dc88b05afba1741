"""Motion IoU: how far an object moves, as the mean IoU of its box with its own boxes in the neighbouring
frames.

For a box of track u in frame t: the mean, over the frames s of t-10..t+10 other than t in which u is
annotated, of the inclusive-pixel IoU of the two boxes. 1 stands still; ImageNet VID calls > 0.9 slow, < 0.7
fast. This agrees with the published table of the val set in every statistic that can be checked without its
annotations.

Frames in which the track is missing are skipped, not counted as 0. A box without any neighbour (a track of
one frame, a still image, a set that labels every 15th frame) gets 1.0: no motion was seen, so none is
claimed.
"""

from pathlib import Path

import numpy as np
from scipy.io import loadmat

from ..errors import InputError
from .vid_ap import inclusive_iou

RADIUS = 10
NO_NEIGHBOUR = 1.0


def motion_iou(*, track, frame, box, radius=RADIUS, include_self=False):
    """track: (M,) int, one number per object of the whole set (not per video); frame: (M,) 0-based frame
    index in the video; box: (M, 4) XYXY, inclusive corners. -> (M,) in 0..1.

    include_self: count the box itself, with IoU 1, as some tables do; the published one does not.
    """
    order = np.lexsort((frame, track))
    track, frame, box = track[order], frame[order], box[order].astype(np.float64)
    total, count = np.full(len(order), float(include_self)), np.full(len(order), float(include_self))
    for step in range(1, len(order)):
        # Sorted by track and frame, the neighbours of a box are the next rows; no step that pairs no rows
        # can be followed by one that does.
        near = (track[step:] == track[:-step]) & (frame[step:] - frame[:-step] <= radius)
        if not near.any():
            break
        first = np.flatnonzero(near & (frame[step:] > frame[:-step]))
        iou = inclusive_iou(box[first], box[first + step])
        for rows in (first, first + step):
            total[rows] += iou
            count[rows] += 1
    mean = np.divide(total, count, out=np.full(len(order), NO_NEIGHBOUR), where=count > 0)
    result = np.empty_like(mean)
    result[order] = mean
    return result


def read_motion_table(path):
    """A MATLAB 5 file with the cell array `motion_iou`, one cell per image id 1..n, in it one value per
    object in the order of the XML file. -> values (V,) float64, offsets (n + 1,) int: cell i is
    values[offsets[i]:offsets[i + 1]].

    One flat array, because the cells differ in length (published tables have (k, 1), (1, k) and (1, 0)).
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: motion IoU table not found; without motion_iou_file it is computed from the tracks"
        )
    try:
        table = loadmat(path)["motion_iou"]
        rows = [np.asarray(cell, dtype=np.float64).ravel() for cell in table.ravel()]
    except Exception as error:  # a file of another kind can fail anywhere in the parser
        raise InputError(
            f"{path}: expected a MATLAB 5 file with the cell array motion_iou, got {type(error).__name__}: "
            f"{' '.join(str(error).split())}; remove the file (metadata motion_iou_file) to have it computed"
        ) from error
    offsets = np.cumsum([0, *map(len, rows)])
    return np.concatenate([np.zeros(0), *rows]), offsets


def motion_from_table(path, *, image_ids, counts):
    """image_ids: (F,) 1-based ids of the frames; counts: (F,) their numbers of boxes.
    -> (sum of counts,) motion IoU, frame after frame, a frame's boxes in their order."""
    values, offsets = read_motion_table(path)
    image_ids, counts = np.asarray(image_ids, dtype=np.int64), np.asarray(counts, dtype=np.int64)
    known = (image_ids >= 1) & (image_ids < len(offsets))
    lengths = np.append(np.diff(offsets), -1)[np.where(known, image_ids - 1, -1)]
    wrong = np.flatnonzero(~known | ((lengths != counts) & (counts > 0)))
    if wrong.size:
        i = wrong[0]
        got = f"{lengths[i]} values" if known[i] else f"no row (of {len(offsets) - 1})"
        raise InputError(
            f"{path}: {got} for image id {image_ids[i]}, expected {counts[i]} (its number of boxes); "
            "the table is of another list: remove the file (metadata motion_iou_file) to have it computed"
        )
    # A frame without boxes may hold a placeholder in the table; it has no box to give it to.
    starts = np.repeat(offsets[image_ids - 1], counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return values[starts + within]
