"""Where results of a run over a video go, and their form as data: one JSON line a frame."""

from __future__ import annotations

import contextlib
import json
import math
import os

from ..data.datasets.mask_rle import encode
from ..errors import InputError, atomic_path


def prepare_output(folder, names, *, overwrite=False, source=None):
    """Make the folder, see that it can be written to, and return the paths of these files in it.

    Raises InputError when the folder cannot be used, a file is there already and overwrite is off, or a file
    is the source itself.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        probe = os.path.join(folder, f".write-test-{os.getpid()}")
        with open(probe, "xb"):
            os.remove(probe)
    except OSError as error:
        raise InputError(f"cannot write into output folder {folder}: {error.strerror}; "
                         "choose another") from None
    paths = [os.path.join(folder, name) for name in names]
    for path in paths:
        if source and os.path.exists(source) and os.path.exists(path) and os.path.samefile(source, path):
            raise InputError(f"{path} is the input itself; choose another output folder")
        if os.path.lexists(path) and not overwrite:
            raise InputError(f"{path} exists already; choose another output folder or add --overwrite")
    return paths


def frame_record(result, class_names, *, policy):
    """One frame as plain data: boxes are XYXY in pixels of the original frame, time is in seconds, a score that is not
    known (NaN) is None. Tracks have their numbers ("track_ids"), too, and what else is known of them: masks
    ("segmentations", COCO RLE with counts as text), whether a tracker has lost its target ("lost")."""
    found = result.predictions
    record = {
        "index": result.index, "time": round(result.time, 6), "policy": policy,
        "boxes": [[round(v, 2) for v in box] for box in found.pred_boxes.tensor.tolist()],
        "scores": [None if math.isnan(score) else round(score, 5) for score in found.scores.tolist()],
        "labels": [class_names[c] for c in found.pred_classes.tolist()],
    }
    if found.has("pred_ids"):
        record["track_ids"] = found.pred_ids.tolist()
    if found.has("pred_masks"):
        record["segmentations"] = [encode(mask) for mask in found.pred_masks.numpy()]
    if found.has("pred_lost"):
        record["lost"] = found.pred_lost.tolist()
    return record if result.error is None else {**record, "error": result.error}


class JsonLinesWriter:
    """Context manager; write(record) appends a line. The file gets its name when the block ends well."""

    def __init__(self, path):
        self.path = path
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            part = stack.enter_context(atomic_path(self.path))
            # Line buffering: a killed run leaves whole lines in the temporary file.
            self._file = stack.enter_context(open(part, "w", encoding="utf-8", buffering=1))
            self._stack = stack.pop_all()
        return self

    def write(self, record):
        self._file.write(json.dumps(record, allow_nan=False) + "\n")

    def __exit__(self, *error):
        return self._stack.__exit__(*error)
