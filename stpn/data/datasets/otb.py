"""OTB-2015 (OTB-100), for evaluation.

    <folder>/<sequence>/img/0001.jpg ...          numbered as the sequence's first picture is, with any digits
                        groundtruth_rect.txt      N lines "x,y,w,h": commas, tabs or blanks; pixels count from 1
                        groundtruth_rect.1.txt    and .2.txt, for sequences with two targets: <sequence>-1 and -2

The layout, the parts of sequences that count and the two targets are taken from memory of the public benchmark; they
have not been tried on its archives.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import InputError
from .numbered_pictures import numbered_pictures
from .track_labels import read_boxes
from .track_record import folders_in, read_all, refuse_no_folder, sequence_dict

# Sequences of which the benchmark takes some pictures only: numbers of the first and the last.
_PARTS = {"David": (300, 770), "Football1": (1, 74), "Freeman3": (1, 460), "Freeman4": (1, 283), "Diving": (1, 215),
          "Tiger1": (6, 354)}
# A file for a second target, but the benchmark has one: this.
_ONLY = {"Human4": "groundtruth_rect.2.txt"}


class _Target(NamedTuple):
    name: str
    pictures: Path
    labels: Path


def load_otb(folder, *, name, video_index, faults=None):
    """-> (dataset dicts, metadata) as load_got10k; boxes count pixels from 0. The sequences are the folders with
    pictures in img/, in the order of their names; the target is in every frame."""
    folder = Path(folder)
    refuse_no_folder(folder)
    targets = [target for sequence in folders_in(folder) for target in _targets(folder / sequence)]
    if not targets:
        raise InputError(f"{folder} has no sequences; expected folders such as Basketball with img/ and "
                         "groundtruth_rect.txt")
    dicts = read_all(lambda target: _sequence(target, f"{name}/{target.name}", video_index), targets, name=name,
                     faults=faults)
    return dicts, {"has_labels": True, "image_root": str(folder), "frame_groups": None}


def _targets(path):
    if not (path / "img").is_dir():
        return []
    single = path / _ONLY.get(path.name, "groundtruth_rect.txt")
    several = sorted(file for file in path.iterdir() if re.fullmatch(r"groundtruth_rect\.\d+\.txt", file.name))
    if single.is_file() or not several:
        return [_Target(path.name, path / "img", single)]
    return [_Target(f"{path.name}-{file.name.split('.')[1]}", path / "img", file) for file in several]


def _sequence(target, video_id, video_index):
    pictures, boxes = numbered_pictures(target.pictures), read_boxes(target.labels)
    if pictures is None:
        raise InputError(f"{target.pictures} has no pictures; expected 0001.jpg and those that follow")
    first, last = _PARTS.get(target.pictures.parent.name, (pictures.first, pictures.last))
    if len(boxes) == pictures.last - pictures.first + 1:  # of all pictures
        boxes = boxes[first - pictures.first:last + 1 - pictures.first]
    if len(boxes) != last - first + 1:
        raise InputError(f"{target.labels} has {len(boxes)} lines; expected {last - first + 1}, for the pictures "
                         f"{first} to {last} in {target.pictures}; get the sequence again")
    video_index.add(video_id, pictures.pattern, len(boxes), first=first)
    absent = np.isnan(boxes[:, 0])
    boxes = np.where(absent[:, None], 0.0, boxes - [1, 1, 0, 0])
    return sequence_dict(video_id, target.name, video_index, boxes=boxes, absent=absent)
