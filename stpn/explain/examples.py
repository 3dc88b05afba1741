"""Which frames a report shows, by a rule instead of by eye, and the sheet that shows them.

The rule: the first videos, in the order of the data set, in which one model alone finds labelled objects in a frame of
the wanted kind; of each the first such frame.
"""

import numpy as np

from ..data.source import open_source
from .pictures import grid, titled

MODELS = ("model", "against")  # as compare.py names them
MOST = 3  # examples of each


def frames_of_groups(dicts, groups):
    """dicts: of a data set; groups: its frame_groups, {group: image ids} or {group: {key of a video: frames}}.
    -> {video id: {group: set of frames}}."""
    found = {record["video_id"]: {} for record in dicts}
    for group, members in groups.items():
        if isinstance(members, dict):
            for record in dicts:
                key = record["json_id"] if "json_id" in record else record["name"]
                found[record["video_id"]][group] = set(members.get(key, ()))
        else:
            wanted = set(members)
            for record in dicts:
                if record["image_id"] in wanted:
                    found[record["video_id"]].setdefault(group, set()).add(record["frame_index"])
    return found


def found_alone(lines, by, wanted):
    """lines: of compare.py's list, with labels; by: one of MODELS; wanted: frames. -> those of them, in order, in which
    this one finds labelled objects that the other misses, and the other none that this one misses. Frames in which
    nothing is labelled have no such entries."""
    (other,) = set(MODELS) - {by}
    return sorted(line["index"] for line in lines if line["index"] in wanted
                  and line.get(f"labels_by_{by}_alone") and not line.get(f"labels_by_{other}_alone"))


def first_examples(videos, *, most=MOST):
    """videos: yields (video id, lines, wanted frames). -> {one of MODELS: [(video id, frame), ...]}, the first frame of
    each of the first `most` videos, and the ids of the videos that were asked for: no more than needed."""
    found, asked = {by: [] for by in MODELS}, []
    for video_id, lines, wanted in videos:
        asked.append(video_id)
        for by in MODELS:
            frames = found_alone(lines, by, wanted)
            if frames and len(found[by]) < most:
                found[by].append((video_id, frames[0]))
        if all(len(examples) == most for examples in found.values()):
            break
    return found, asked


def video_frame(path, t):
    """path: of a video -> its frame t, uint8 (H, W, 3) RGB."""
    with open_source(path) as source:
        return next(np.asarray(frame.image) for frame in source if frame.index == t)


def sheet(pictures, titles, *, width):
    """-> one picture: the pictures below each other, each made `width` pixels wide, with a line of text above."""
    return grid([[titled(picture, title, width=width)] for picture, title in zip(pictures, titles, strict=True)])
