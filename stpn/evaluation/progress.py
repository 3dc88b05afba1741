"""An evaluation that was interrupted goes on at the sequence it stopped in, if it is still the same evaluation.

While one runs, unfinished.json lies beside its tracks/ and says what they are made with: a digest each of the model's
parameters, of the configuration, of this program and of every sequence's labels, and the folder of the pictures. It
goes when the figures are written, so that an evaluation that was completed is made again in full. Where sequences were
added, taken out or corrected meanwhile, the others keep their tracks. The pictures themselves are not in the digests:
reading them all would cost as much as they save.
"""

import hashlib
import json
import logging
import re
from pathlib import Path

import numpy as np

from ..errors import atomic_path
from .tracking_results import read_finished

MARK, TRACKS, CONFIDENCES = "unfinished.json", "tracks", "scores"

logger = logging.getLogger(__name__)


def take_up(folder, records, fingerprint, *, dataset, products=()):
    """folder: where an evaluation writes; records: dataset dicts; fingerprint: {what: text} of all that tracks depend
    on beside the labels; dataset: its name, for messages; products: names of the files that it writes at its end.
    -> {sequence name: Tracks} of the sequences that need not be tracked again, {} for a new evaluation. What does not
    go with these tracks is removed, figures of an earlier evaluation included, and the mark written."""
    folder, labels = Path(folder), {record["name"]: labels_digest(record) for record in records}
    before = _mark(folder / MARK)
    for name in products:
        (folder / name).unlink(missing_ok=True)
    other = [what for what in fingerprint if (before or {}).get(what) != fingerprint[what]]
    tracks = {}
    if other:
        removed = _clear(folder)
        if before is not None:
            logger.warning(f"{dataset}: the evaluation that was interrupted in {folder} had other "
                           f"{' and '.join(other)}; this one starts afresh, with all sequences")
        elif removed:
            logger.info(f"{dataset}: {folder} holds a finished evaluation; its tracks and figures are replaced")
    else:
        tracks = _same_labels(folder, records, before.get("labels"), labels, dataset)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / MARK) as part:
        part.write_text(json.dumps({**fingerprint, "labels": labels}, indent=1) + "\n", encoding="utf-8")
    return tracks


def _same_labels(folder, records, before, labels, dataset):
    """before, labels: {sequence name: digest of its labels}, of the evaluation that was interrupted and now. -> Tracks
    of the sequences that are done and still have the same; what belongs to others is removed."""
    before = before if isinstance(before, dict) else {}
    changed = [name for name in before if labels.get(name) != before[name]]
    kept = [record for record in records if before.get(record["name"]) == labels[record["name"]]]
    _remove(folder, but=[record["name"] for record in kept])
    tracks = {name: found for name, found in read_finished(folder / TRACKS, kept).items()
              if (folder / CONFIDENCES / f"{name}.txt").is_file()}
    if changed:
        logger.warning(f"{dataset}: {len(changed)} sequences such as {changed[0]} have other labels than when the "
                       "evaluation was interrupted, or are not in the data set any more; their tracks are removed")
    logger.info(f"{dataset}: the evaluation that was interrupted goes on; {len(tracks)} of {len(records)} sequences "
                f"were tracked before and are taken from {folder / TRACKS} (the pictures themselves are not compared: "
                "if you have changed some since then, remove that folder first)")
    return tracks


def complete(folder):
    """The figures are written: nothing is left to take up."""
    (Path(folder) / MARK).unlink(missing_ok=True)


def labels_digest(record):
    """-> digest of a dataset dict: name, size, length and all labels."""
    digest = hashlib.sha256()
    digest.update(repr([record[key] for key in ("name", "video_length", "width", "height")]).encode())
    for key in ("boxes", "absent", "cover"):
        digest.update(b"none" if record[key] is None else np.ascontiguousarray(record[key]).tobytes())
    return digest.hexdigest()


def _mark(path):
    """-> what an interrupted evaluation wrote, None where there was none. {} where the mark cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, ValueError):
        content = None
    return content if isinstance(content, dict) else {}


def _clear(folder):
    """Remove the mark first, then the tracks: whenever this is interrupted, no track of another model is left beside a
    mark. -> number of files of tracks."""
    complete(folder)
    return _remove(folder)


def _remove(folder, *, but=()):
    """Remove the files that evaluations write for each sequence, and nothing else. but: names of the sequences that
    stay. -> number of files of tracks."""
    removed = 0
    for place in filter(Path.is_dir, sorted((folder / TRACKS).glob("*"))):  # "*/" finds files before Python 3.11
        if place.name in but:
            continue
        name = re.escape(place.name)
        for file in sorted(place.iterdir()):
            if re.fullmatch(name + r"_(\d{3}|time)(\.tmp)?\.txt", file.name):
                file.unlink()
                removed += 1
        if not any(place.iterdir()):
            place.rmdir()
    for file in sorted((folder / CONFIDENCES).glob("*.txt")):
        if file.stem not in but:
            file.unlink()
    return removed
