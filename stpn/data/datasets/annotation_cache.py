"""Parsed annotations as flat arrays, kept in a .npz file (data only: nothing in it can run).

Letters: N frames of a list, M boxes in all of them.
"""

import hashlib
import logging
import os
import stat
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

logger = logging.getLogger(__name__)

FORMAT = 1  # raise it when the meaning of a column changes: older files are then not read
FOLDER = "annotations_cache"
_PROBES = 512  # annotation files whose size and time are looked at to notice a data set written anew


@dataclass
class BoxTable:
    """The boxes of N frames, in the order of the frames."""

    sizes: np.ndarray  # (N, 2) int32, width and height in pixels
    counts: np.ndarray  # (N,) int32, boxes a frame
    boxes: np.ndarray  # (M, 4) float64, x1, y1, x2, y2, inclusive pixel corners
    labels: np.ndarray  # (M, 4) int64, category id, track id, occluded, generated


def load_or_parse(parse, *, root, name, list_text, paths, classes):
    """-> BoxTable, from the cache when it is of this list, these classes and unchanged files; otherwise
    parse() -> BoxTable is called and its result kept.

    root: data set folder; name: of the list; list_text: its content; paths: annotation file of each frame;
    classes: {name in the files: category id}.
    """
    digest = hashlib.sha256(list_text.encode()).hexdigest()[:16]
    stamp = _fingerprint(paths, classes)
    places = [folder / f"{name}-{digest}-v{FORMAT}.npz" for folder in _folders(root)]
    for place in places:
        table = _read(place, stamp)
        if table is not None:
            return table
    logger.info("reading %d annotation files of %s under %s", len(paths), name, root)
    table = parse()
    _write_first(places, table, stamp)
    return table


def _folders(root):
    """Where a cache may lie, best first: beside the data unless its folder is read-only, then the user's."""
    own = hashlib.sha256(str(Path(root).resolve()).encode()).hexdigest()[:16]
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    # The mode counts as well as the right: for the superuser every folder is writable.
    mode = os.stat(root).st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    writable = mode and os.access(root, os.W_OK)
    return ([Path(root) / FOLDER] if writable else []) + [Path(home) / "stpn" / FOLDER / own]


def _fingerprint(paths, classes):
    """A hash of the class table and of the size and time of some annotation files, evenly spread."""
    digest = hashlib.sha256(repr(sorted(classes.items())).encode())
    for path in paths[:: max(1, len(paths) // _PROBES)]:
        try:
            info = os.stat(path)
        except OSError:
            digest.update(b"missing")  # parse() says which file; a cache made before it went is not used
            continue
        digest.update(f"{info.st_size} {info.st_mtime_ns};".encode())
    return digest.hexdigest()


def _read(path, stamp):
    try:
        with np.load(path, allow_pickle=False) as data:
            if str(data["stamp"]) != stamp:
                logger.info("the annotations under %s have changed since they were cached", path)
                return None
            return BoxTable(**{field.name: data[field.name] for field in fields(BoxTable)})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        logger.warning("annotation cache %s cannot be read (%s); it is made again", path, error)
        return None


def _write_first(places, table, stamp):
    for place in places:
        try:
            _write(place, table, stamp)
        except OSError as error:
            logger.info("cannot keep parsed annotations in %s: %s", place, error)
        else:
            return


def _write(path, table, stamp):
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.{os.getpid()}.tmp.npz")  # several processes may parse the same list
    try:
        with open(part, "wb") as handle:
            np.savez_compressed(handle, stamp=np.array(stamp), **vars(table))
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
