"""An evaluation that was interrupted goes on at the sequence it stopped in, if it is still the same evaluation.

While one runs, unfinished.json lies beside its tracks/ and says what they are made with: a digest each of the model's
parameters, of the configuration and of the data set's labels. It goes when the figures are written, so that an
evaluation that was completed is made again in full. The pictures themselves are not in the digests: reading them all
would cost as much as they save.
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


def take_up(folder, records, fingerprint, *, dataset):
    """folder: where an evaluation writes; records: dataset dicts; fingerprint: {what: digest} of all that tracks depend
    on; dataset: its name, for messages. -> {sequence name: Tracks} of the sequences that need not be tracked again,
    {} for a new evaluation: then what an earlier one left is removed, and the mark written."""
    folder = Path(folder)
    before = _mark(folder / MARK)
    if before == fingerprint:
        tracks = {name: found for name, found in read_finished(folder / TRACKS, records).items()
                  if (folder / CONFIDENCES / f"{name}.txt").is_file()}
        logger.info(f"{dataset}: the evaluation that was interrupted goes on; {len(tracks)} of {len(records)} "
                    f"sequences were tracked before and are taken from {folder / TRACKS}")
        return tracks
    if before is not None:
        other = [what for what in fingerprint if before.get(what) != fingerprint[what]]
        logger.warning(f"{dataset}: the evaluation that was interrupted in {folder} had other {' and '.join(other)}; "
                       "this one starts afresh, with all sequences")
    _clear(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / MARK) as part:
        part.write_text(json.dumps(fingerprint, indent=1) + "\n", encoding="utf-8")
    return {}


def complete(folder):
    """The figures are written: nothing is left to take up."""
    (Path(folder) / MARK).unlink(missing_ok=True)


def labels_digest(records):
    """-> digest of the dataset dicts: sequences, sizes, lengths and all labels."""
    digest = hashlib.sha256()
    for record in records:
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
    """Remove the mark first, then the files that evaluations write, and nothing else: whenever this is interrupted, no
    track of another model is left beside a mark."""
    complete(folder)
    for place in sorted((folder / TRACKS).glob("*/")):
        name = re.escape(place.name)
        for file in sorted(place.iterdir()):
            if re.fullmatch(name + r"_(\d{3}|time)(\.tmp)?\.txt", file.name):
                file.unlink()
        if not any(place.iterdir()):
            place.rmdir()
    for file in sorted((folder / CONFIDENCES).glob("*.txt")):
        file.unlink()
