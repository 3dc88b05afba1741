"""The 15 key frames a training video: the published list, from its rule, where the file is not at hand."""

import logging
import os

from ..text_file import read_text
from .frame_xml import README
from .image_sets import EXTENSIONS, count_frames, find_list, missing_list, split_lines

logger = logging.getLogger(__name__)

KEY_FRAMES = 15
LIST = "VID_train_15frames"
VIDEOS = "VID_train_videos"


def fifteen_frames(length):
    """Key frames of a video of `length` frames, 0-based, ascending.

    The order of the double-precision operations is part of the rule: other ways to write the same number
    differ from the published list in hundreds of its 57,834 lines.
    """
    if length <= KEY_FRAMES:
        return list(range(length))
    rate = KEY_FRAMES / length
    return [int((i + 1) / rate - 0.5 / rate) for i in range(KEY_FRAMES)]


def fifteen_frame_list(root):
    """-> the text of VID_train_15frames.txt for the videos of VID_train_videos.txt or, without that list,
    of the folders on disk. Videos sorted by path, frames ascending."""
    path = find_list(root, [VIDEOS])
    lengths = _listed_lengths(path, root) if path else _lengths_on_disk(root)
    logger.info("%s.txt not found under %s; generated it for %d videos (%s)", LIST, root, len(lengths),
                path or "the folders on disk")
    return "".join(f"{video} 1 {frame} {length}\n" for video, length in sorted(lengths.items())
                   for frame in fifteen_frames(length))


def _listed_lengths(path, root):
    text = read_text(path, expected="a list, one video a line")
    lines = split_lines(text, path, (1, 2, 4))
    return {fields[0]: int(fields[3]) if len(fields) == 4 else count_frames(root / "Data" / "VID" / fields[0])
            for _, fields in lines}


def _lengths_on_disk(root):
    top = root / "Data" / "VID" / "train"
    if not top.is_dir():
        raise FileNotFoundError(f"{missing_list(root, [LIST])} To generate it, the videos are needed: "
                                f"{top} is not there either; {README}")
    lengths = {}
    for folder, _, names in os.walk(top):
        count = sum(name.endswith(EXTENSIONS) for name in names)
        if count:
            lengths[os.path.relpath(folder, top.parent).replace(os.sep, "/")] = count
    return lengths
