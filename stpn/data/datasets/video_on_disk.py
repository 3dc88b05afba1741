"""The videos that a file of the plain format names: found, counted and measured, each with what is wrong."""

import itertools
import os
import re
from dataclasses import dataclass, field

from ...errors import InputError
from ..file_reader import file_facts
from ..image import picture_size
from ..source_images import is_image, natural_key
from .video_json_check import Problem


@dataclass
class VideoOnDisk:
    """One video. path: of its file or folder. frames: the pictures' paths in order, None for a video file.
    length in frames. sizes: {frame index: (width, height)} of the labelled frames, in pixels."""

    path: str
    frames: list | None
    length: int
    sizes: dict = field(default_factory=dict)


def find_video(video, images, root, *, where):
    """-> (VideoOnDisk or None, list of Problem).

    video: an entry of "videos"; images: {its place in "images": entry} of this video; root: folder that
    file_name is relative to; where: the video's place, for the problems. None comes with a fatal problem.
    """
    path = os.path.join(root, video["file_name"])
    try:
        if os.path.isdir(path):
            found, problems = _folder(path, video, images, root, where)
        elif os.path.isfile(path):
            found, problems = VideoOnDisk(path, *([path], 1) if is_image(path) else (None, file_facts(path).length)), []
        else:
            found, problems = _missing(path, video, images, where)
    except InputError as error:
        return None, [Problem(f"{where}.file_name", str(error), "unreadable picture")]
    if found is not None:
        problems += _check_length(found, video, images, where)
        problems += _measure(found, video, images, where)
    return (None if any(problem.fatal for problem in problems) else found), problems


def _folder(path, video, images, root, where):
    """Frames are the folder's pictures in natural order. Labelled ones that are not there keep their place, so
    that the others keep their numbers."""
    on_disk, problems = _pictures_in(path), []
    named = {place: os.path.join(root, image["file_name"]) for place, image in images.items() if "file_name" in image}
    for place, name in list(named.items()):
        if os.path.dirname(os.path.normpath(name)) != os.path.normpath(path):
            problems.append(Problem(f"{place}.file_name", f"{name} does not lie in its video's folder {path}",
                                    "structure"))
        named[place] = os.path.join(path, os.path.basename(name))
    frames = sorted(on_disk | set(named.values()), key=natural_key)
    if not frames:
        raise InputError(f"folder {path} has no pictures; expected frames such as 000001.jpg")
    numbers = {frame: i for i, frame in enumerate(frames)}
    for place, name in named.items():
        index = images[place]["frame_index"]
        if numbers[name] != index:
            problems.append(Problem(f"{place}.frame_index", f"is {index}, but {name} is frame {numbers[name]} of its "
                                    "folder in natural order, counted from 0", "structure"))
        if name not in on_disk:
            problems.append(Problem(f"{place}.file_name", f"image not found: {name}", "missing picture", fatal=False))
    hole = _hole(frames) if "length" not in video and len(named) < len(images) else None
    if hole:
        before, after = map(os.path.basename, hole)
        text = (f"{path} has nothing between {before} and {after}: if pictures are missing, the labels behind them "
                "would go to other frames; add them, give each image its file_name, or say by the video's length "
                f"{len(frames)} that all are there")
        problems.append(Problem(f"{where}.file_name", text, "missing picture"))
    return VideoOnDisk(path, frames, len(frames)), problems


def _hole(frames):
    """frames: paths in natural order. -> the two beside the first gap in their numbers, None when there is none or
    the names do not count: in steps of one size (every fifth frame, say), with gaps of several steps."""
    parts = [re.split(r"([0-9]+)", os.path.splitext(os.path.basename(frame))[0].lower()) for frame in frames]
    columns = list(zip(*parts)) if len(set(map(len, parts))) == 1 else []
    varying = [i for i, column in enumerate(columns) if len(set(column)) > 1]
    if len(varying) != 1 or varying[0] % 2 == 0:
        return None
    numbers = [int(number) for number in columns[varying[0]]]
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    step = min(steps)
    if step < 1 or any(size % step for size in steps):
        return None
    return next(((frames[i], frames[i + 1]) for i, size in enumerate(steps) if size > step), None)


def _pictures_in(path):
    """What open_source takes for the frames of a folder, without asking the disk about each of them."""
    with os.scandir(path) as entries:
        return {os.path.join(path, entry.name) for entry in entries
                if is_image(entry.name) and not entry.name.startswith(".") and not entry.is_dir()}


def _missing(path, video, images, where):
    """A video that is not there can stand for its frames only if the JSON says how large they are."""
    known = all(side in video or (images and all(side in image for image in images.values()))
                for side in ("width", "height"))
    length = video.get("length", 1 + max((image["frame_index"] for image in images.values()), default=0))
    text = f"video not found: {path}; expected a video file or a folder of frames"
    problem = Problem(f"{where}.file_name", text, "missing picture", fatal=not known)
    return VideoOnDisk(path, None, length) if known else None, [problem]


def _check_length(found, video, images, where):
    stated = video.get("length", found.length)
    if stated != found.length:
        yield Problem(f"{where}.length", f"is {stated}, but {found.path} has {found.length} frames; add what is "
                      "missing, or correct the length", "structure")
        return
    for place, image in images.items():
        if image["frame_index"] >= found.length:
            yield Problem(f"{place}.frame_index", f"is {image['frame_index']}, but {found.path} has the frames "
                          f"0..{found.length - 1}", "unknown id")


def _measure(found, video, images, where):
    """Fill found.sizes from the JSON, else from the files."""
    for place, image in images.items():
        i = image["frame_index"]
        stated = _stated(image, video)
        if None in stated:
            sizes = (_size(found, j) for j in [i, *range(found.length)] if j < found.length)
            stated = next(filter(None, sizes), None)
        if stated is None:
            yield Problem(place, f"has no width and height, and no picture of {found.path} can be read",
                          "unreadable picture")
        else:
            found.sizes[i] = stated
    yield from _compare(found, video, images, where)


def _compare(found, video, images, where):
    """One frame's size a video is compared with its file: all of them would take as long as an epoch."""
    place, image = next(iter(images.items()), (where, {"frame_index": 0}))
    i, stated = image["frame_index"], _stated(image, video)
    actual = _size(found, i) if i < found.length and os.path.exists(found.path) else None
    if None not in stated and actual not in (None, stated):
        where = place if "width" in image else where
        yield Problem(f"{where}.width", f"and height are {stated[0]}x{stated[1]}, but frame {i} of {found.path} has "
                      f"{actual[0]}x{actual[1]} pixels; correct them or leave them out", "size")


def _stated(image, video):
    return tuple(image.get(side, video.get(side)) for side in ("width", "height"))


def _size(found, i):
    """-> (width, height) of frame i, None when its picture is missing or cannot be read."""
    if found.frames is None:
        facts = file_facts(found.path)
        return facts.width, facts.height
    try:
        return picture_size(found.frames[i])
    except InputError:
        return None
