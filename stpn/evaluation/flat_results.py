"""A tracker's results with a file for each sequence, as is usual for LaSOT, OTB and TrackingNet.

    <tracker>/<sequence>.txt         T lines of x, y, w, h, separated by commas, tabs or spaces
              <sequence>_time.txt    T lines of seconds; optional

Boxes are in pixels of the original frame, its top left corner 0, 0, in the data set's own labels as read here. A folder
for each sequence (tracking_results.py), which train_net.py leaves, is read as well.
"""

import zipfile
from pathlib import Path

import numpy as np

from ..errors import InputError, atomic_path
from .tracking_metrics import Tracks
from .tracking_results import box_faults, copied_times, opened, read_table, read_tracks, time_faults
from .ytvis_results import refuse


def read_flat_or_folders(root, records, *, where):
    """root: as opened() gives it; records: dataset dicts; where: path of the results, for messages.
    -> {sequence name: Tracks}, in the data set's order; times are NaN where there are none. All that is wrong is
    logged, and InputError raised with the first."""
    entries, names = {entry.name: entry for entry in root.iterdir()}, [record["name"] for record in records]
    flat = [name for name in names if f"{name}.txt" in entries]
    if not flat and any(name in entries for name in names):
        return read_tracks(root, records, where=where)
    if not flat:
        raise InputError(f"{where} holds neither a file nor a folder of a sequence, such as {names[0]}.txt; is it the "
                         "folder of one tracker, and of this data set?")
    known = {f"{name}{end}.txt" for name in names for end in ("", "_time")}
    problems = [f"{entry}: belongs to no sequence of this data set; take it out"
                for entry in sorted(entries.keys() - known)]
    tracks, owners = {}, {}
    for record in records:
        found, faults = _read_sequence(entries, record["name"], record["video_length"], owners)
        tracks[record["name"]] = found
        problems += faults
    refuse(problems, where=where)
    return tracks


def _read_sequence(entries, name, length, owners):
    """-> (Tracks or None, problems)."""
    file, time_file = f"{name}.txt", f"{name}_time.txt"
    boxes, problems = read_table(entries.get(file), file, (length, 4), check=box_faults, commas_only=False)
    times = np.full((length, 1), np.nan)
    if time_file in entries:
        times, faults = read_table(entries[time_file], time_file, (length, 1), check=time_faults)
        problems += faults or copied_times(times, time_file, name, owners)
    return (None if problems else Tracks(boxes[None], times.T)), problems


def write_flat_submission(path, results, records):
    """Pack results (folder or archive) after a check of all of them: <sequence>.txt with lines x,y,w,h for each
    sequence, all boxes, the first one as it was given, at the top of the archive and nothing else. TrackingNet's server
    takes that (from memory: not tried). Equal results give equal archives. -> number of files."""
    path, results = Path(path), Path(results)
    if results.is_dir() and results.resolve() in path.resolve().parents:
        raise InputError(f"{path} would lie among the results themselves; put the archive somewhere else")
    with opened(results) as root:
        tracks = read_flat_or_folders(root, records, where=results)
    several = [name for name, found in tracks.items() if len(found.boxes) > 1]
    if several:
        raise InputError(f"{results}: {several[0]} has several repetitions; expected one, the server takes no more")
    with atomic_path(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name, found in tracks.items():
            member = zipfile.ZipInfo(f"{name}.txt")
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(member, "".join("{:.3f},{:.3f},{:.3f},{:.3f}\n".format(*box) for box in found.boxes[0]))
        return len(archive.namelist())
