"""A labelled set in YouTube-VIS form -> two parts of its videos, to train on and to measure on: the labels of the
official val and test parts are hidden."""

import json
from pathlib import Path

import numpy as np

from ...errors import InputError, atomic_path
from ..datasets.image_sets import data_folder
from ..datasets.json_tables import refuse_fatal
from ..datasets.ytvis import picture_folder, read_ytvis
from ..datasets.ytvis_check import TABLES, is_labelled
from ..vis_sets import VIS_ENTRIES
from .converting import next_command, relative


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
                         "of the other parts are hidden; for a set of your own, add --output TRAIN.json VAL.json")
    return tuple(folder / f"{before}{part}_sub.json" for part in ("train", "val"))


def own_paths(path, outputs):
    """path: of a JSON file; outputs: those that its two parts are to have. -> them as paths, their folders made."""
    paths = tuple(map(Path, outputs))
    for part in paths:
        if part.suffix != ".json":
            raise InputError(f"--output names {part}; expected two names that end in .json")
    if len({part.resolve() for part in (Path(path), *paths)}) < 3:
        raise InputError(f"--output names {paths[0]} and {paths[1]}; expected two files, neither of them {path}")
    for part in paths:
        part.parent.mkdir(parents=True, exist_ok=True)
    return paths


def with_pictures(contents, paths, source):
    """contents: of split_ytvis(); paths: of own_paths(). -> the same, with file_names under which the loader finds the
    pictures of the file `source` from the new places. InputError where they are not found from the old one."""
    first = contents[0]["videos"][0]["file_names"][0]
    root = picture_folder(source, first)
    if not (root / first).is_file():
        raise InputError(f"the picture {first} of {source} is not there (looked for in {root} and beside it); put the "
                         "pictures where datasets/README.md says, or leave --output out")
    return tuple(_moved(content, path, root) for content, path in zip(contents, paths, strict=True))


def _moved(content, path, root):
    if picture_folder(path, content["videos"][0]["file_names"][0]) == root:
        return content
    return {**content, "videos": [{**video, "file_names": [relative(root / name, path) for name in video["file_names"]]}
                                  for video in content["videos"]]}


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
