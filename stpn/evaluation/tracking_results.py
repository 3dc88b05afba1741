"""A tracker's results on a data set in GOT-10k's form, read, checked and written.

    <tracker>/<sequence>/<sequence>_001.txt     T lines x,y,w,h; a tracker with chance in it: also _002.txt, _003.txt
                         <sequence>_time.txt    T lines of seconds, a column for each repetition

A submission is a zip archive with the sequence folders at its top. In both every fault is told with file and line:
the evaluation server is silent about them, and the toolkit stops at the first, or takes other times.
flat_results.py reads the form of other data sets with the parts of this file.
"""

import contextlib
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..data.datasets.number_lines import parse_lines, told
from ..errors import InputError
from .tracking_metrics import Tracks
from .ytvis_results import refuse

__all__ = ["opened", "read_finished", "read_tracks"]

_LARGEST = 1 << 26  # bytes of a file; a box takes 40
_SHOWN = 5


@contextlib.contextmanager
def opened(path):
    """path: folder of a tracker, or zip archive -> its root, with iterdir(), /, is_dir(), read_bytes(), name."""
    path = Path(path)
    if path.is_dir():
        yield path
        return
    if not path.exists():
        raise FileNotFoundError(f"results not found: {path}; expected the folder of a tracker, which holds a folder "
                                "for each sequence, or a zip archive of it")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is neither a folder nor a whole zip archive; expected the folder of a tracker")
    try:
        with zipfile.ZipFile(path) as archive:
            refuse(list(_archive_faults(archive)), where=path)
            yield zipfile.Path(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(f"{path}: the archive is damaged or of an unknown kind ({error}); write it again") from None


def read_tracks(root, records, *, where):
    """root: as opened() gives it; records: dataset dicts; where: path of the results, for messages.
    -> {sequence name: Tracks}, in the data set's order. All that is wrong is logged, and InputError raised with the
    first: sequences missing or unknown, files that do not belong, lines, times, different numbers of repetitions."""
    entries, names = {entry.name: entry for entry in root.iterdir()}, [record["name"] for record in records]
    if not entries.keys() & set(names):
        raise InputError(f"{where} holds no folder of a sequence, such as {names[0]}{_hint(entries, names)}")
    problems = [f"{name}: is no sequence of this data set; take it out" for name in sorted(entries.keys() - set(names))]
    tracks, owners = {}, {}
    for record in records:
        name = record["name"]
        if name not in entries or not entries[name].is_dir():
            problems.append(f"{name}: is missing; expected a folder with {name}_001.txt and {name}_time.txt")
            continue
        found, faults = _read_sequence(entries[name], name, record["video_length"])
        if found:
            tracks[name] = found
            faults += copied_times(found.times, f"{name}/{name}_time.txt", name, owners)
        problems += faults
    refuse(problems + _uneven(tracks), where=where)
    return tracks


def read_finished(root, records):
    """root: folder that an evaluation was writing when it ended; records: dataset dicts -> {sequence name: Tracks} of
    those that are whole, of one repetition."""
    tracks = {}
    for record in records:
        if (root / record["name"]).is_dir():
            found, _ = _read_sequence(root / record["name"], record["name"], record["video_length"])
            if found and len(found.boxes) == 1:
                tracks[record["name"]] = found
    return tracks


def _read_sequence(folder, name, length):
    """-> (Tracks or None, problems)."""
    files = {entry.name: entry for entry in folder.iterdir()}
    runs = sorted(file for file in files if re.fullmatch(re.escape(name) + r"_\d{3}\.txt", file)) or [f"{name}_001.txt"]
    times = f"{name}_time.txt"
    problems = [f"{name}/{file}: does not belong here; take it out" for file in sorted(files.keys() - {*runs, times})]
    wanted = [f"{name}_{number:03d}.txt" for number in range(1, len(runs) + 1)]
    tables = []
    for file, columns, check in [*((run, 4, box_faults) for run in wanted), (times, len(runs), time_faults)]:
        table, faults = read_table(files.get(file), f"{name}/{file}", (length, columns), check=check)
        tables.append(table)
        problems += faults
    return (None if problems else Tracks(np.stack(tables[:-1]), tables[-1].T)), problems


def read_table(file, where, shape, *, check, commas_only=True):
    """file: with read_bytes(), or None where there is none; shape: (rows, columns) expected; check: table -> faults.
    -> ((rows, columns) float64 or None, problems)."""
    if file is None or file.is_dir():
        return None, [f"{where}: is missing; expected {shape[0]} lines"]
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return None, [f"{where}: is not text in UTF-8 (byte {error.start})"]
    table, faults = parse_lines(text, columns=shape[1], commas_only=commas_only)
    faults = faults if table is None else [*check(table), *_count_faults(len(table), shape[0])]
    return table, told(where, faults)


def _count_faults(rows, expected):
    if rows < expected:
        return [(max(rows, 1), f"the file ends here, after {rows} lines; expected {expected}, one for each frame")]
    return [(expected + 1, f"is beyond the last frame; expected {expected} lines of {rows}")] if rows > expected else []


def box_faults(boxes):
    return [(row + 1, "has a number that is not finite; expected x,y,w,h in pixels")
            for row in np.flatnonzero(~np.isfinite(boxes).all(1))]


def time_faults(times):
    """NaN and 0 stand for what was not measured, in the toolkit, too."""
    return [(row + 1, "has a time below 0 or without end; expected seconds")
            for row in np.flatnonzero(((times < 0) | np.isinf(times)).any(1))]


def copied_times(times, file, name, owners):
    """Times measured twice never agree: those of another sequence were left over from it. owners: {times: name}, of
    the sequences before this one. -> problems."""
    constant = len(np.unique(times)) < 2
    owner = name if constant else owners.setdefault(times.tobytes(), name)
    return [] if owner == name else [f"{file}:1: has the times of {owner}; measure them again"]


def _uneven(tracks):
    most = max((len(found.boxes) for found in tracks.values()), default=0)
    return [f"{name}: has {len(found.boxes)} repetitions, others {most}; expected as many for each sequence"
            for name, found in tracks.items() if len(found.boxes) < most]


def _hint(entries, names):
    inner = sorted(folder for folder, entry in entries.items()
                   if entry.is_dir() and any((entry / name).is_dir() for name in names))
    if not inner:
        return "; is it of this data set?"
    folders = ", ".join(inner[:_SHOWN]) + (", ..." if len(inner) > _SHOWN else "")
    return f", but these folders in it do: {folders}; expected one of them (in an archive, its content at the top)"


def _archive_faults(archive):
    seen = set()
    for member in archive.infolist():
        if member.filename in seen:
            yield f"{member.filename}: is there twice; write the archive again"
        if member.flag_bits & 1 or member.file_size > _LARGEST:
            yield f"{member.filename}: has a password, or more than {_LARGEST} bytes; expected a plain result file"
        seen.add(member.filename)
