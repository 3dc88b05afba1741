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
from .tables import Detections

CATEGORY_IDS = ("contiguous", "original", "one-based")
BATCH = 2_000  # records turned into arrays at a time
LARGEST = 1e30  # of the numbers of a box or score: their sums are finite in float32
FIELDS = ("image_id", "category_id", "bbox", "score")


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


def read_detections(path, frames, *, classes):
    """path: a COCO results file, records in any order; frames: LabelledFrames; classes: {category id: class number}.
    -> Detections in the order of merge, float32. Raises InputError with the number of the first record that cannot
    be used (row 49 of the reliability table): unknown frame or category, wrong type, not finite, repeated."""
    rows = {int(image_id): row for row, image_id in enumerate(frames.image_id)}
    pieces, records = [_arrays([], rows, classes)], stream_list(path)
    for first in itertools.count(0, BATCH):
        batch = list(itertools.islice(records, BATCH))
        if not batch:
            break
        pieces.append(_piece(batch, path, first, rows, classes, frames))
    detections = Detections(*(np.concatenate(column) for column in zip(*pieces, strict=True)))
    order = detections.order()
    _check_repeats(detections, order, path, frames)
    return detections.take(order)


def _piece(batch, path, first, rows, classes, frames):
    """-> frame, label, box, score of some records; the first of them is record number `first`."""
    try:
        found = _arrays(batch, rows, classes)
        if found and not any(_contradicts(r, frames, rows) for r in batch):
            return found
    except (KeyError, TypeError, ValueError, OverflowError):
        pass  # the records are looked at one by one to name the one
    for number, record in enumerate(batch, first):
        problem = _problem(record, rows, classes) or _contradicts(record, frames, rows)
        if problem:
            raise InputError(f"{path}: record {number}: {problem}")
    raise AssertionError(f"{path}: records from {first} on were refused, but each of them looks well")


def _arrays(batch, rows, classes):
    """Many records at once. -> frame, label, box, score; None or an exception where _problem has something to say."""
    image_id, category_id, bbox, score = ([record[name] for record in batch] for name in FIELDS)
    numbers = [*itertools.chain.from_iterable(bbox), *score]
    types = {*map(type, image_id), *map(type, category_id)} <= {int} and {*map(type, numbers)} <= {int, float}
    if not types or not {*map(type, bbox)} <= {list} or not {*map(len, bbox)} <= {4}:
        return None
    values = np.array(numbers, dtype=np.float64)
    frame, label = ([table[key] for key in keys] for table, keys in ((rows, image_id), (classes, category_id)))
    if not (np.abs(values) <= LARGEST).all():
        return None
    box = values[:4 * len(batch)].reshape(-1, 4)
    box[:, 2:] += box[:, :2]
    return (np.array(frame, dtype=np.int64), np.array(label, dtype=np.int64), box.astype(np.float32),
            values[4 * len(batch):].astype(np.float32))


def _problem(record, rows, classes):
    """-> what is wrong with one record, None if nothing is."""
    if type(record) is not dict:
        return f'got {_shown(record)}; expected an object {{"image_id", "category_id", "bbox", "score"}}'
    for name in FIELDS:
        if name not in record:
            return f"has no {name}; expected image_id, category_id, bbox and score"
    for name, known, where in (("image_id", rows, "the dataset has no such labelled frame"),
                               ("category_id", classes, f"the ids are {_span(classes)}")):
        value = record[name]
        if type(value) is not int:
            return f"{name} is {_shown(value)}; expected a whole number"
        if value not in known:
            return f"{name} {_shown(value)} is unknown: {where}; evaluate with the dataset, and the --category-ids, " \
                   "that the results were made for"
    box = record["bbox"]
    if type(box) is not list or len(box) != 4 or not all(map(_is_number, box)):
        return f"bbox is {_shown(box)}; expected 4 finite numbers [x, y, w, h]"
    if not _is_number(record["score"]):
        return f"score is {_shown(record['score'])}; expected a finite number"
    return None


def _contradicts(record, frames, rows):
    """-> None, or what is wrong when a record names another frame than its image id does."""
    video_id, index = record.get("video_id"), record.get("frame_index")
    row = rows[record["image_id"]]
    if type(video_id) is not str or (video_id, index) == (frames.video_id[row], int(frames.frame_index[row])):
        return None  # other programs may write a number there, which means nothing here
    return (f"is of {video_id} frame {index}, but its image id is {frames.name(row)}; evaluate with the dataset that "
            "the results were made for")


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


def _is_number(value):
    return type(value) in (int, float) and abs(value) <= LARGEST


def _shown(value):
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _span(classes):
    return f"{min(classes)}..{max(classes)}" if classes else "none"
