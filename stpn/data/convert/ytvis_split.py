"""A labelled set in YouTube-VIS form -> two parts of its videos, to train on and to measure on: the labels of the
official val and test parts are hidden."""

import json
from pathlib import Path

import numpy as np

from ...errors import InputError, atomic_path
from ..datasets.image_sets import data_folder
from ..datasets.json_tables import refuse_fatal
from ..datasets.ytvis import read_ytvis
from ..datasets.ytvis_check import TABLES, is_labelled
from ..vis_sets import VIS_ENTRIES
from .converting import next_command


def split_ytvis(path, *, share, seed):
    """-> (content of the training part, of the validation part): the JSON at `path` with some of its videos and their
    tracks each; the counts of RLE are compressed bytes.

    share: of the videos that are to be in the validation part, between 0 and 1. Which ones is a function of the seed
    and the ids. A video stays in the training part if no other there has one of its classes, so that every class of the
    validation part is trained on; that part may become smaller than asked for. InputError where nothing is left."""
    if not 0 < share < 1:
        raise InputError(f"the share of validation videos is {share}; expected more than 0 and less than 1")
    content, problems = read_ytvis(path)
    refuse_fatal(path, problems)
    if not is_labelled(content):
        raise InputError(f"{path} has no annotations; split the file with the labels, that of the train part")
    chosen = choose_videos(content, share=share, seed=seed)
    if not chosen:
        raise InputError(f"{path}: each of its {len(content['videos'])} videos has a class that no other has, or the "
                         "share is less than one video; nothing can be put aside for validation")
    return _part(content, lambda key: key not in chosen), _part(content, lambda key: key in chosen)


def choose_videos(content, *, share, seed):
    """-> set of the ids of the validation videos."""
    classes = {video["id"]: set() for video in content["videos"]}
    for row in content["annotations"]:
        classes[row["video_id"]].add(row["category_id"])
    left = {row["id"]: sum(row["id"] in found for found in classes.values()) for row in content["categories"]}
    wanted, chosen = round(share * len(classes)), set()
    ids = sorted(classes)
    for i in np.random.default_rng(seed).permutation(len(ids)):
        found = classes[ids[i]]
        if len(chosen) < min(wanted, len(ids) - 1) and all(left[key] > 1 for key in found):
            chosen.add(ids[i])
            for key in found:
                left[key] -= 1
    return chosen


def part_paths(path):
    """path: of a train part's JSON -> paths of the JSON files of its two parts, as builtin names expect them:
    train.json and train/instances.json -> train_sub.json, val_sub.json; annotations_train.json likewise."""
    path = Path(path)
    folder, stem = (path.parent.parent, path.parent.name) if path.stem == "instances" else (path.parent, path.stem)
    before, train, after = stem.rpartition("train")
    if not train or after:
        raise InputError(f"{path} is not called train.json, annotations_train.json or train/instances.json; the labels "
                         "of the other parts are hidden, and a set of your own should be called so, too")
    return tuple(folder / f"{before}{part}_sub.json" for part in ("train", "val"))


def refuse_existing(paths, *, overwrite):
    """InputError where one of the files exists and is not to be replaced: said before a minute of reading."""
    for path in paths:
        if path.exists() and not overwrite:
            raise InputError(f"{path} exists; replace it with --overwrite")


def write_parts(contents, paths):
    """Write both JSON files, one row a line, or none of them."""
    with atomic_path(paths[0]) as first, atomic_path(paths[1]) as second:
        for content, part in zip(contents, (first, second), strict=True):
            _write(content, part)


def describe(content):
    """-> text: how many videos, frames, tracks and classes a part has."""
    frames = sum(len(video["file_names"]) for video in content["videos"])
    classes = {row["category_id"] for row in content["annotations"]}
    return (f"{len(content['videos'])} videos, {frames} frames, {len(content['annotations'])} tracks of {len(classes)} "
            f"of the {len(content['categories'])} classes")


def check_command(path):
    """-> the command that checks the set in this JSON file, by its built-in name where it has one."""
    for name, entry in VIS_ENTRIES.items():
        if path.absolute() in (data_folder() / entry.folder / file for file in entry.files):
            return f"python datasets/check.py {name}"
    return next_command(path)


def _part(content, keeps):
    videos = [video for video in content["videos"] if keeps(video["id"])]
    annotations = [row for row in content["annotations"] if keeps(row["video_id"])]
    return {**content, "videos": videos, "annotations": annotations}


def _write(content, path):
    """Row by row: the text of all masks together can be larger than what memory holds of them."""
    with open(path, "w", encoding="utf-8", errors="backslashreplace") as handle:
        for i, (key, value) in enumerate(content.items()):
            handle.write(("{" if i == 0 else ",\n") + f"{json.dumps(key)}: ")
            if key not in TABLES:
                handle.write(_line(value))
                continue
            handle.write("[")
            for j, row in enumerate(value):
                handle.write(("\n " if j == 0 else ",\n ") + _line(row))
            handle.write("]")
        handle.write("}\n")


def _line(value):
    """default: compressed counts are ASCII."""
    return json.dumps(value, ensure_ascii=False, default=lambda counts: counts.decode("ascii"))
