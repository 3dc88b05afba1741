"""Masks as COCO writes them: run lengths (RLE) as a list, a text or bytes, and polygons.

    {"size": [h, w], "counts": [ints]}        runs down the columns, of 0 and 1 in turn
    {"size": [h, w], "counts": "text"}        the same, compressed; in memory also bytes
    [[x1, y1, x2, y2, ...], ...]              polygons of one object, pixels
"""

import math

import numpy as np
from pycocotools import mask as coco_mask

from ...errors import InputError

_FARTHEST = 10**6  # pixels: polygons are drawn step by step, so that a corner without bound would never end
_MOST_CHARACTERS = 6  # of one run in compressed form: 30 bits


def compact(row):
    """JSON object -> the same, but a sound RLE of lists with its counts as compressed bytes (a tenth of the memory).
    For json.loads, as object_hook: what is not sound is left for fault() to describe."""
    if row.keys() != {"size", "counts"} or not isinstance(row["counts"], list) or not _is_size(row["size"]):
        return row
    runs = _listed(row["counts"])
    if runs is None or runs.sum() != row["size"][0] * row["size"][1]:
        return row
    return coco_mask.frPyObjects({"size": row["size"], "counts": runs}, *row["size"])


def fault(segmentation):
    """-> (place in it such as ".counts" or "[0]", what is wrong), None for a sound RLE or list of polygons."""
    if isinstance(segmentation, list):
        return _fault_of_polygons(segmentation)
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        return "", "is neither RLE (an object with size and counts) nor a list of polygons"
    size, counts = segmentation["size"], segmentation["counts"]
    if not _is_size(size):
        return ".size", "is not [height, width] in whole pixels"
    if not isinstance(counts, (list, str, bytes)):
        return ".counts", "is neither a list of whole numbers nor a text"
    runs = _listed(counts) if isinstance(counts, list) else _uncompressed(counts)
    if runs is None:
        return ".counts", "is not run lengths of RLE"
    if runs.sum() != size[0] * size[1]:
        return ".counts", f"has runs over {runs.sum()} pixels; its size has {size[0] * size[1]}"
    return None


def decode(segmentation, size):
    """-> np.bool (H, W). segmentation: RLE or polygons; size: (height, width) in pixels that it must have.
    InputError for one that is not sound, or of another size."""
    wrong = fault(segmentation)
    if wrong is not None:
        raise InputError(f"segmentation{' '.join(wrong)}; correct it")
    if isinstance(segmentation, list):
        return coco_mask.decode(_merged(segmentation, size)).astype(bool)
    if tuple(segmentation["size"]) != tuple(size):
        raise InputError(f"segmentation has size {list(segmentation['size'])}; expected {list(size)} (height, width)")
    if isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, *size)
    return coco_mask.decode(segmentation).astype(bool)


def encode(mask):
    """np.bool (H, W) -> RLE {"size": [H, W], "counts": text}, as JSON holds it."""
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def mask_box(segmentation, size):
    """-> [x, y, width, height] in pixels, tight around a sound segmentation, without decoding RLE."""
    if isinstance(segmentation, list):
        return coco_mask.toBbox(_merged(segmentation, size)).tolist()
    if isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, *size)
    return coco_mask.toBbox(segmentation).tolist()


def with_area(polygons):
    """-> the polygons of three or more corners."""
    return [polygon for polygon in polygons if len(polygon) >= 6]


def _merged(polygons, size):
    polygons = with_area(polygons)
    empty = {"size": list(size), "counts": [size[0] * size[1]]}
    return coco_mask.merge(coco_mask.frPyObjects(polygons, *size)) if polygons else coco_mask.frPyObjects(empty, *size)


def _fault_of_polygons(polygons):
    for i, polygon in enumerate(polygons):
        if not isinstance(polygon, list) or len(polygon) % 2 or not all(map(_is_coordinate, polygon)):
            return f"[{i}]", "is not a polygon [x1, y1, x2, y2, ...] of finite numbers in pixels"
    return None


def _is_size(size):
    return isinstance(size, (list, tuple)) and len(size) == 2 and all(type(v) is int and v > 0 for v in size)


def _is_coordinate(value):
    return type(value) in (int, float) and math.isfinite(value) and abs(value) <= _FARTHEST


def _listed(counts):
    """-> np.int64 (runs,), None when they are not whole numbers of pixels."""
    try:
        runs = np.array(counts)
    except (ValueError, OverflowError):  # lists of several lengths; a number of a thousand digits
        return None
    sound = runs.ndim == 1 and runs.dtype.kind == "i" and runs.min() >= 0 and runs.max() < 2**31
    return runs if sound else None


def _uncompressed(counts):
    """Compressed counts -> np.int64 (runs,), None when that is no such text. (pycocotools reads beyond the end of one
    that breaks off.) COCO's coding: characters from "0" on hold five bits each and whether more follow, low bits first
    and signed; from the fourth run on, the difference to the run before the last."""
    try:
        codes = np.frombuffer(counts.encode("ascii") if isinstance(counts, str) else counts, np.uint8).astype(np.int64)
    except UnicodeEncodeError:
        return None
    codes -= 48
    last = codes & 32 == 0
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or not last[-1]:
        return None
    ends = np.flatnonzero(last)
    starts = np.append(0, ends[:-1] + 1)
    lengths = ends - starts + 1
    if lengths.max() > _MOST_CHARACTERS:
        return None
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((codes & 31) << shifts, starts)
    runs -= np.where(codes[ends] & 16, 1 << 5 * lengths, 0)
    for first in (1, 2):  # counts 1, 3, 5, ... and 2, 4, 6, ... are running sums; the first run is on its own
        runs[first::2] = np.cumsum(runs[first::2])
    return runs if runs.min() >= 0 else None
