"""MOTChallenge sequences (MOT15, MOT16/17, MOT20, and exports in their form) -> the plain video format.

    <sequence>/seqinfo.ini       optional: imDir, seqLength, imWidth, imHeight
    <sequence>/gt/gt.txt         frame, track, left, top, width, height, consider flag, class, visibility
    <sequence>/gt/labels.txt     optional: names of the classes 1, 2, ..., one a line
    <sequence>/img1/000001.jpg

Frames and pixels count from 1. MOT15 has 10 columns, of which the last three are not a class.
"""

import configparser
from pathlib import Path

from ...errors import InputError
from ..text_file import read_text
from .converting import PlainSet, chosen, relative
from .frames import frame_numbers, length_on_disk

# The numbers of MOT16, MOT17 and MOT20.
CLASSES = ("pedestrian", "person on vehicle", "car", "bicycle", "motorbike", "non motorized vehicle", "static person",
           "distractor", "occluder", "occluder on the ground", "occluder full", "reflection", "crowd")


def convert_mot(sequences, output, *, classes=None, video=None, origin=1):
    """-> PlainSet.

    sequences: folders; output: the JSON file, which names the videos relative to itself; classes: names to keep
    (default: all of labels.txt where it exists, else pedestrian); video: the video file of the only sequence,
    where there is no folder of pictures; origin: number of the left and top pixel (1 in the standard).
    A row whose consider flag is 0 is dropped: what it marks is neither to be found nor quite background, and video
    detection has no crowd regions for such (its evaluation refuses them).
    """
    sequences = [Path(folder) for folder in sequences]
    if video is not None and len(sequences) != 1:
        raise InputError(f"one video file for {len(sequences)} sequences; convert them one by one")
    labels = dict.fromkeys(name for folder in sequences for name in _read_labels(folder) or CLASSES)
    plain = PlainSet(chosen(classes, labels) if classes else _read_labels(sequences[0]) or CLASSES[:1])
    for folder in sequences:
        _add_sequence(plain, folder, video, output, origin)
    return plain


def _add_sequence(plain, folder, video, output, origin):
    info = _read_info(folder)
    pictures = folder / info.get("imdir", "img1")
    names = _read_labels(folder) or list(CLASSES)
    rows = _read_rows(folder / "gt" / "gt.txt")
    positions = _positions(folder, pictures, info, rows, video)
    size = (int(info["imwidth"]), int(info["imheight"])) if {"imwidth", "imheight"} <= info.keys() else None
    length = length_on_disk(video or pictures) or (None if video else len(positions))
    if length is not None and len(positions) > length:
        raise InputError(f"{folder} has {len(positions)} frames (seqLength in seqinfo.ini, or the last in gt.txt), but "
                         f"{video} has {length}; name the right video file, or correct seqLength")
    video_id = plain.add_video(relative(video or pictures, output), size=size, length=length)
    images = {number: plain.add_frame(video_id, position) for number, position in positions.items()}
    for place, frame, track, corners, label in _considered(plain, rows, images):
        if not 1 <= label <= len(names):
            raise InputError(f"{place}: class {label}; expected 1..{len(names)} ({', '.join(names)})")
        plain.add_box(images[frame], names[label - 1], [corner - origin for corner in corners], track=track)


def _considered(plain, rows, frames):
    """Yield (place, frame, track or None, corners as numbered in the file, class number) of the rows to take over."""
    seen = {}
    for place, (frame, track, left, top, width, height, consider, label) in rows:
        if frame not in frames:
            plain.dropped["boxes in frames that have no picture"] += 1
            continue
        if not consider > 0:
            plain.dropped["boxes whose consider flag is 0"] += 1
            continue
        track = track if track >= 0 else None
        if track is not None and seen.setdefault((frame, track), place) != place:
            raise InputError(f"{place}: track {track} has a box in frame {frame} already ({seen[frame, track]}); take "
                             "one of them out, or give it another track id")
        yield place, frame, track, (left, top, left + width, top + height), label


def _positions(folder, pictures, info, rows, video):
    """-> {frame number: position from 0}."""
    numbers = frame_numbers(pictures) if video is None else {}
    if numbers:
        return numbers
    if video is None and "seqlength" not in info:
        raise InputError(f"{folder} has neither pictures in {pictures.name}/ nor seqLength in seqinfo.ini; "
                         "put the pictures there, or name the video file with --video")
    length = int(info.get("seqlength", max((row[0] for _, row in rows), default=0)))
    return {number: number - 1 for number in range(1, length + 1)}


def _read_info(folder):
    """-> {key in lower case: text} of seqinfo.ini, {} without one."""
    if not folder.is_dir():
        raise FileNotFoundError(f"sequence folder not found: {folder}; expected one with gt/gt.txt in it")
    parser = configparser.ConfigParser()
    try:
        parser.read(folder / "seqinfo.ini", encoding="utf-8-sig")
        info = dict(parser["Sequence"]) if parser.has_section("Sequence") else {}
        return info | {key: int(info[key]) for key in ("seqlength", "imwidth", "imheight") if key in info}
    except (configparser.Error, ValueError) as error:
        raise InputError(f"{folder / 'seqinfo.ini'}: {' '.join(str(error).split())}; expected [Sequence] with "
                         "seqLength, imWidth and imHeight as whole numbers") from error


def _read_labels(folder):
    path = folder / "gt" / "labels.txt"
    if not path.is_file():
        return []
    lines = read_text(path, expected="the names of the classes, one a line").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _read_rows(path):
    """-> list of (place, (frame, track, left, top, width, height, consider flag, class number))."""
    try:
        lines = read_text(path, expected="MOTChallenge's ground truth").splitlines()
    except FileNotFoundError:
        raise FileNotFoundError(f"ground truth not found: {path}; MOTChallenge's test sequences have none") from None
    return [(f"{path}:{number}", _row(line, f"{path}:{number}"))
            for number, line in enumerate(lines, 1) if line.strip()]


def _row(line, place):
    """The consider flag is a confidence in some exports: all above 0 counts as considered."""
    try:
        values = [float(value) for value in line.split(",")]
        label = values[7] if len(values) in (8, 9) else 1.0
        whole = {"frame": values[0], "track": values[1], "class": label}
        consider = values[6]
    except (ValueError, IndexError):
        raise InputError(f"{place}: {line[:80]!r}; expected frame, track, left, top, width, height, consider "
                         "flag, class, visibility, separated by commas") from None
    for name, value in whole.items():
        if not value.is_integer():
            raise InputError(f"{place}: {name} {value:g}; expected a whole number")
    return int(values[0]), int(values[1]), *values[2:6], consider, int(label)
