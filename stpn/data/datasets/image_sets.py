"""ImageNet's list files: which frames of which videos. Roots, list folders and all formats in use.

    <video> <id> <frame> <length>     4 columns: a key frame, or a whole video (see read_frames)
    <video>/<frame> <id>              2 columns: every frame on a line
    <picture> <flag>                  2 columns in the DET lists (read_pictures)
"""

import functools
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from ...errors import InputError
from .frame_xml import README

LIST_FOLDERS = ("ImageSets", "ImageSets/VID", "Lists", "Lists/VID")
EXTENSIONS = (".JPEG", ".jpg", ".jpeg", ".png")


class ListedFrame(NamedTuple):
    video_id: str
    frame_index: int  # from 0
    video_length: int
    image_id: int


def data_folder():
    """-> absolute Path of the folder that DETECTRON2_DATASETS names (read now, default "datasets")."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets")).expanduser().absolute()


def find_root(folders):
    """First of the folder names that exists under data_folder()."""
    base = data_folder()
    for folder in folders:
        if (base / folder).is_dir():
            return base / folder
    wanted = " or ".join(str(base / folder) for folder in folders)
    raise FileNotFoundError(f"data set folder not found: {wanted}; put or link it there or set "
                            f"DETECTRON2_DATASETS to the folder above it; {README}")


def find_list(root, names):
    """-> Path of the first list found among names, looked for in LIST_FOLDERS, or None."""
    for name in names:
        for folder in LIST_FOLDERS:
            path = root / folder / f"{name}.txt"
            if path.is_file():
                return path
    return None


def missing_list(root, names):
    wanted = " or ".join(str(root / "ImageSets" / "VID" / f"{name}.txt") for name in names)
    return FileNotFoundError(f"list file not found: {wanted} (also looked for in {', '.join(LIST_FOLDERS)}); "
                             f"{README}")


def split_lines(text, path, columns):
    """-> list of (line number, fields); blank lines are skipped, another number of fields is an error."""
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise InputError(f"list {path} is empty; {README}")
    for number, fields in lines:
        if len(fields) not in columns:
            raise InputError(f"{path}:{number}: {len(fields)} columns; expected "
                             f"{' or '.join(map(str, columns))}; {README}")
    return lines


def read_frames(text, path, data_folder):
    """-> list of ListedFrame, in the list's order.

    A 4-column list in which no video comes twice and every frame number is 0 lists whole videos: each line
    stands for frames 0..length-1, whose ids count on from the line's id. Otherwise a line is a key frame.
    An id column that never changes is a class flag: the frames are then numbered from 1.
    data_folder holds the videos' folders; it is looked at where a list does not say a video's length.
    """
    length = functools.cache(lambda video_id: count_frames(data_folder / video_id))
    lines = split_lines(text, path, (2, 4))
    rows = [_row(fields, length, f"{path}:{number}") for number, fields in lines]
    flags = len(rows) > 1 and len({row.image_id for row in rows}) == 1
    whole = all(len(fields) == 4 for _, fields in lines)
    whole = whole and len({row.video_id for row in rows}) == len(rows) and not any(row.frame_index for row in rows)
    if whole:
        rows = [row._replace(frame_index=i, image_id=row.image_id + i)
                for row in rows for i in range(row.video_length)]
    if flags:
        return [row._replace(image_id=i) for i, row in enumerate(rows, 1)]
    _refuse_repeats(rows, path)
    return rows


def _row(fields, length, place):
    try:
        if len(fields) == 4:
            row = ListedFrame(fields[0], int(fields[2]), int(fields[3]), int(fields[1]))
        else:
            video_id, _, frame = fields[0].rpartition("/")
            row = ListedFrame(video_id, int(frame), length(video_id), int(fields[1]))
    except ValueError as error:
        raise InputError(f"{place}: {error}; ids, frames and lengths are whole numbers; {README}") from None
    if not 0 <= row.frame_index < row.video_length:
        raise InputError(f"{place}: frame {row.frame_index} of a video of {row.video_length} frames; "
                         "frames count from 0")
    return row


def _refuse_repeats(rows, path):
    image_id, count = Counter(row.image_id for row in rows).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path}: image id {image_id} stands for {count} frames; ids must differ")


def count_frames(folder):
    """Number of pictures in a video's folder."""
    try:
        return sum(name.endswith(EXTENSIONS) for name in os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"video folder not found: {folder}; {README}") from None


def frame_pattern(folder):
    """-> pattern of a video's frames for VideoIndex, with the extension its first frame has, else any other.

    A video that is not there is for the loaders to refuse, or to go without: that of ImageNet is assumed."""
    extension = next((e for e in EXTENSIONS if (folder / f"000000{e}").is_file()), None)
    if extension is None:
        extension = _any_extension(folder) or EXTENSIONS[0]
    return str(folder).replace("{", "{{").replace("}", "}}") + "/{:06d}" + extension


def _any_extension(folder):
    try:
        return next((e for name in sorted(os.listdir(folder)) for e in EXTENSIONS if name.endswith(e)), None)
    except (FileNotFoundError, NotADirectoryError):
        return None
