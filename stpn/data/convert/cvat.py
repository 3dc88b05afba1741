"""Annotations exported from CVAT as "CVAT for video 1.1" -> the plain video format.

Where a file lists only some frames of a track, the boxes between them follow CVAT's rule: a straight line to the
next, or unchanged until an outside one.
"""

import glob
import os
from bisect import bisect_left, bisect_right
from pathlib import Path

from ...errors import InputError
from .converting import PlainSet, chosen, relative
from .cvat_xml import read_task
from .frames import length_on_disk


def convert_cvat(files, output, *, videos=None, folder=None, classes=None):
    """-> PlainSet.

    files: XML files; output: the JSON file; videos: the video (file or folder of frames) of each file; without
    them they are looked for in folder (default: "videos" beside output) under the name that CVAT noted, or the
    XML file's own. classes: names to keep, default all labels of the files.
    """
    if videos and len(videos) != len(files):
        raise InputError(f"{len(videos)} videos for {len(files)} annotation files; expected one for each, in order")
    tasks = [read_task(path) for path in files]
    plain = PlainSet(chosen(classes, dict.fromkeys(label for task in tasks for label in task.labels)))
    folder = Path(folder) if folder else Path(output).parent / "videos"
    for i, task in enumerate(tasks):
        _add_task(plain, task, videos[i] if videos else _find_video(files[i], task, folder), output, files[i])
    return plain


def boxes_of(track, frames):
    """Boxes of a track, also in the frames between the listed ones. frames: ascending, those to have a box.
    -> iterator of TrackBox, none outside."""
    for box, later in zip(track, [*track[1:], None]):
        if box.outside:
            continue
        yield box
        if later is None:
            return
        for frame in frames[bisect_right(frames, box.frame):bisect_left(frames, later.frame)]:
            share = 0 if later.outside else (frame - box.frame) / (later.frame - box.frame)
            corners = (a + share * (b - a) for a, b in zip(box.corners, later.corners))
            yield box._replace(frame=frame, generated=1, corners=tuple(corners))


def _add_task(plain, task, video, output, path):
    frames, length = _labelled_frames(plain, task, path), length_on_disk(video)
    if length is not None and frames and frames[-1] >= length:
        raise InputError(f"{path} goes to frame {frames[-1]}, counted from 0, but {video} has {length} frames; name "
                         "the right video with --video, or add the missing pictures")
    video_id = plain.add_video(relative(video, output), size=task.size, length=length)
    images = {frame: plain.add_frame(video_id, frame) for frame in frames}
    if task.rotated:
        plain.notes.append(f"{path}: {task.rotated} rotated boxes became the upright boxes around them")
    for shape, count in task.others.items():
        plain.dropped[f"{shape} shapes (only boxes are taken over)"] += count
    for track_id, label, track in task.tracks:
        for box in boxes_of(track, frames):
            plain.add_box(images[box.frame], label, box.corners, track=track_id, occluded=box.occluded,
                          generated=box.generated)


def _labelled_frames(plain, task, path):
    """-> ascending frame numbers: all that the task states, or those with boxes where these are others."""
    listed = {box.frame for _, _, track in task.tracks for box in track if not box.outside}
    if task.frames is not None and listed <= set(task.frames):
        return list(task.frames)
    if task.frames is not None:
        plain.notes.append(f"{path} has boxes outside the frames it states ({task.frames}); only the frames with "
                           "boxes are taken as labelled")
    return sorted(listed)


def _find_video(path, task, folder):
    """The video beside its siblings: under the name that CVAT noted, or that of the annotation file."""
    names = dict.fromkeys(name for name in (os.path.basename(task.source), Path(task.source).stem, Path(path).stem)
                          if name)
    for name in names:
        if (folder / name).exists():
            return folder / name
    found = sorted(folder.glob(f"{glob.escape(Path(path).stem)}.*"))
    if len(found) == 1:
        return found[0]
    raise FileNotFoundError(f"video of {path} not found: looked in {folder} for {', '.join(names)}; put it there, "
                            "or name it with --video")
