"""Frames whose files are not there, found before hours of work meet them: each folder is listed once."""

import logging
import os
import shlex
from collections import defaultdict

from ..errors import InputError
from .objects import is_whole_video

logger = logging.getLogger(__name__)

_SHOWN = 5


def without_missing(samples, video_index, *, allow_missing, names):
    """-> the dataset dicts whose picture or video file is there; how many are not is logged. Of a whole video (without
    labelled and other frames) one picture is enough: "missing_frames" then lists the others' indices.

    names: of the data sets, for the advice. Raises InputError saying how many are missing, and the first of them,
    unless allow_missing."""
    files = [_files(sample, video_index) for sample in samples]
    every = [file for listed in files for file in listed]
    missing = missing_files(every)
    if not missing:
        return samples
    kind = "training frames" if any(map(is_whole_video, samples)) else "labelled training frames"
    text = _count([file for file in every if file in missing], len(every), kind)
    if not allow_missing:
        advice = " and ".join(f"datasets/check.py {shlex.quote(name)}" for name in names)
        raise InputError(f"{text}; add them, or train without these frames with --allow-missing "
                         f"(DATALOADER.ALLOW_MISSING True); {advice} {'list' if len(names) > 1 else 'lists'} all")
    logger.warning("%s; they are left out", text)
    return [_marked(sample, listed, missing) for sample, listed in zip(samples, files, strict=True)
            if not missing.issuperset(listed)]


def _marked(sample, files, missing):
    if not is_whole_video(sample) or missing.isdisjoint(files):
        return sample
    return {**sample, "missing_frames": [t for t, file in enumerate(files) if file in missing]}


def refuse_missing_frames(video_index, name):
    """InputError when any frame of the videos of data set `name` is not there: evaluation reads them all."""
    files = [file for video_id in video_index
             for file in ([video_index.file(video_id)] if video_index.file(video_id) else video_index.paths(video_id))]
    missing = missing_files(files)
    if missing:
        kind = f"files of {name}"
        raise InputError(f"{_count([file for file in files if file in missing], len(files), kind)}; evaluation needs "
                         "every frame: add them, or take their videos out of the list; datasets/check.py "
                         f"{shlex.quote(name)} lists all")


def missing_files(paths):
    """-> set of those of these paths at which there is no file (a link to nothing is none)."""
    folders = defaultdict(set)
    for path in paths:
        folder, name = os.path.split(path)
        folders[folder].add(name)
    return {os.path.join(folder, name) for folder, names in folders.items() for name in names - _present(folder, names)}


def _present(folder, names):
    try:
        with os.scandir(folder or ".") as entries:
            return {entry.name for entry in entries if entry.name in names and entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _files(sample, video_index):
    """Paths of the files that hold a sample's frame or frames."""
    video_id = sample.get("video_id")
    if is_whole_video(sample):
        return video_index.paths(video_id)
    return [(video_id in video_index and video_index.file(video_id)) or sample["file_name"]]


def _count(missing, total, kind):
    shown = ", ".join(list(dict.fromkeys(missing))[:_SHOWN])
    more = ", ..." if len(set(missing)) > _SHOWN else ""
    return f"{len(missing)} of {total} {kind} are missing: {shown}{more}"
