"""A tracker's results written in GOT-10k's form, and packed for the evaluation server."""

import re
import zipfile
from pathlib import Path

import numpy as np

from ..errors import InputError, atomic_path
from .tracking_results import opened, read_tracks


def write_tracks(folder, name, tracks):
    """Write Tracks to <folder>/<name>/: boxes with 3 digits, times with 8, as the toolkit does. Files of earlier
    repetitions beyond these are removed."""
    place = Path(folder) / name
    place.mkdir(parents=True, exist_ok=True)
    files = {f"{name}_{number:03d}.txt": (boxes, "%.3f") for number, boxes in enumerate(tracks.boxes, 1)}
    for stale in place.iterdir():
        if re.fullmatch(re.escape(name) + r"_\d{3}\.txt", stale.name) and stale.name not in files:
            stale.unlink()
    for file, (table, form) in {**files, f"{name}_time.txt": (np.transpose(tracks.times), "%.8f")}.items():
        with atomic_path(place / file) as part:
            np.savetxt(part, table, fmt=form, delimiter=",")


def write_confidences(folder, name, scores):
    """Write the tracker's score of each frame, (T,) in 0..1 or NaN, to <folder>/<name>.txt. Beside the tracks, not
    among them: the server takes no other files. With them other thresholds of "lost" can be tried without the model."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with atomic_path(Path(folder) / f"{name}.txt") as part:
        np.savetxt(part, scores, fmt="%.6f")


def written(tracks):
    """-> Tracks as they would be read again: rounded."""
    return type(tracks)(*(np.array([form % value for value in table.flat], dtype=np.float64).reshape(table.shape)
                          for table, form in zip(tracks, ("%.3f", "%.8f"))))


def write_submission(path, results, records):
    """Pack results (folder or archive) after a check of all of them: the sequence folders at the top, nothing else.
    Equal results give equal archives: they carry no time. -> number of files."""
    path, results = Path(path), Path(results)
    if results.is_dir() and results.resolve() in path.resolve().parents:
        raise InputError(f"{path} would lie among the results themselves; put the archive somewhere else")
    with opened(results) as root:
        tracks = read_tracks(root, records, where=results)
        with atomic_path(path) as part, zipfile.ZipFile(part, "w") as archive:
            for name in tracks:
                for file in sorted((root / name).iterdir(), key=lambda file: file.name):
                    member = zipfile.ZipInfo(f"{name}/{file.name}")
                    member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                    archive.writestr(member, file.read_bytes())
            return len(archive.namelist())
