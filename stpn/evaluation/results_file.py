"""Detections of a whole dataset as a COCO results file: written by the evaluator, read again without the model.

    [{"image_id": 1, "category_id": 0, "bbox": [x, y, w, h], "score": 0.9, "video_id": "val/a", "frame_index": 0}, ...]

Boxes are in pixels of the original image, w = x2 - x1. video_id and frame_index are ours and optional; other
programs ignore them. A frame without detections has no line. A file that we wrote reads back bit by bit: the
numbers are float32, their differences and decimal forms are exact as float64, and a detector's boxes have
0 <= x1 <= x2, for which x1 + (x2 - x1) rounds to x2 again.
"""

import itertools
import json

import numpy as np

from ..errors import InputError, atomic_path
from .json_stream import stream_list
from .results_record import FIELDS, LARGEST, Expected
from .tables import Detections

CATEGORY_IDS = ("contiguous", "original", "one-based")
BATCH = 2_000  # records turned into arrays at a time


def write_detections(path, detections, frames):
    """detections: Detections in the order of merge; frames: LabelledFrames. category_id is the contiguous class
    number (0-based)."""
    ends = np.searchsorted(detections.frame, np.arange(len(frames)), side="right")
    with atomic_path(path) as part, open(part, "w", encoding="utf-8") as handle:
        separator, start = "[", 0
        for row, end in enumerate(ends):
            where = {"video_id": frames.video_id[row], "frame_index": int(frames.frame_index[row])}
            xywh = detections.box[start:end].astype(np.float64)
            xywh[:, 2:] -= xywh[:, :2]
            for n, box in enumerate(xywh.tolist(), start):
                line = {"image_id": int(frames.image_id[row]), "category_id": int(detections.label[n])}
                line |= {"bbox": box, "score": float(detections.score[n]), **where}
                handle.write(separator + json.dumps(line))
                separator = ",\n"
            start = end
        handle.write("]" if separator != "[" else "[]")


def class_numbers(scheme, metadata, *, num_classes):
    """What the category ids of a file mean. -> {category id: contiguous class number}.

    scheme: "contiguous" (0-based, what the evaluator writes), "original" (those of the dataset's annotation file) or
    "one-based" (1..C in the order of the classes, as mmtracking numbers ImageNet VID)."""
    if scheme == "original":
        known = metadata.get("thing_dataset_id_to_contiguous_id")
        if not known:
            raise InputError(f"--category-ids original: {metadata.name} has no category ids of its own; its results "
                             "use contiguous (from 0) or one-based ids")
        return dict(known)
    if scheme not in CATEGORY_IDS:
        raise InputError(f"category ids {scheme!r} are not known; expected one of {', '.join(CATEGORY_IDS)}")
    return {c + (scheme == "one-based"): c for c in range(num_classes)}


def doubt_about_ids(metadata):
    """-> what to ask a user who has not said what the ids of another program's file mean: class numbers from 0, from
    1 and the data set's own ids overlap, and the figures of the wrong classes would come out."""
    known = dict(metadata.get("thing_dataset_id_to_contiguous_id") or {})
    own = f", or the data set's own {min(known)}..{max(known)} (original)" if known else ""
    return ("say with --category-ids whether the ids of the file are class numbers from 0 (contiguous), from 1 "
            f"(one-based){own}")


def read_detections(path, frames, *, classes, doubt=""):
    """path: a COCO results file, records in any order; frames: LabelledFrames; classes: {category id: class number}.
    doubt: see doubt_about_ids; unless empty, records without our video_id are refused with it.
    -> Detections in the order of merge, float32. Raises InputError with the number of the first record that cannot
    be used (row 49 of the reliability table): unknown frame or category, wrong type, not finite, negative width or
    height, repeated. Records without video_id whose ids this set has, too, cannot be known to be of another set."""
    expected = Expected(frames, classes, doubt)
    pieces, records = [_arrays([], expected)], stream_list(path)
    for first in itertools.count(0, BATCH):
        batch = list(itertools.islice(records, BATCH))
        if not batch:
            break
        pieces.append(_piece(batch, path, first, expected))
    detections = Detections(*(np.concatenate(column) for column in zip(*pieces, strict=True)))
    order = detections.order()
    _check_repeats(detections, order, path, frames)
    return detections.take(order)


def _piece(batch, path, first, expected):
    """-> frame, label, box, score of some records; the first of them is record number `first`."""
    try:
        found = _arrays(batch, expected)
        if found and not any(map(expected.names_another, batch)):
            return found
    except (KeyError, TypeError, ValueError, OverflowError):
        pass  # the records are looked at one by one to name the one
    for number, record in enumerate(batch, first):
        problem = expected.problem(record)
        if problem:
            raise InputError(f"{path}: record {number}: {problem}")
    raise AssertionError(f"{path}: records from {first} on were refused, but each of them looks well")


def _arrays(batch, expected):
    """Many records at once. -> frame, label, box, score; None or an exception where expected.problem has something
    to say of the values."""
    image_id, category_id, bbox, score = ([record[name] for record in batch] for name in FIELDS)
    numbers = [*itertools.chain.from_iterable(bbox), *score]
    types = {*map(type, image_id), *map(type, category_id)} <= {int} and {*map(type, numbers)} <= {int, float}
    if not types or not {*map(type, bbox)} <= {list} or not {*map(len, bbox)} <= {4}:
        return None
    values = np.array(numbers, dtype=np.float64)
    tables = (expected.rows, image_id), (expected.classes, category_id)
    frame, label = ([table[key] for key in keys] for table, keys in tables)
    if not (np.abs(values) <= LARGEST).all():
        return None
    box = values[:4 * len(batch)].reshape(-1, 4)
    if (box[:, 2:] < 0).any():
        return None
    box[:, 2:] += box[:, :2]
    return (np.array(frame, dtype=np.int64), np.array(label, dtype=np.int64), box.astype(np.float32),
            values[4 * len(batch):].astype(np.float32))


def _check_repeats(detections, order, path, frames):
    """order: rows of detections, sorted by all their values."""
    same = np.ones(max(0, len(order) - 1), dtype=bool)
    for column in (detections.frame, detections.label, detections.score, *detections.box.T):
        values = column[order]
        same &= values[1:] == values[:-1]
    again = np.flatnonzero(same)
    if again.size:
        # Equal rows keep the order of the file, so the later record of a pair is the second.
        n = again[np.argmin(order[again + 1])]
        raise InputError(f"{path}: record {order[n + 1]} repeats record {order[n]}: the same box, class and score in "
                         f"{frames.name(detections.frame[order[n]])} ({again.size} repeats in all); was a part of "
                         "the results written twice?")
