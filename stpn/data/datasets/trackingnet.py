"""TrackingNet's test part: one box a sequence, the other labels are hidden.

    <folder>/frames/<sequence>/0.jpg, 1.jpg ...      names without leading zeros
    <folder>/anno/<sequence>.txt                     one line "x,y,w,h", pixels

The layout is taken from memory of the public archives; it has not been tried on them.
"""

from pathlib import Path

from ...errors import InputError
from .numbered_pictures import numbered_pictures
from .track_labels import read_boxes, refuse_length
from .track_record import folders_in, hidden_boxes, read_all, refuse_no_folder, sequence_dict


def load_trackingnet(folder, *, name, video_index, faults=None):
    """-> (dataset dicts, metadata) as load_got10k gives them for hidden labels; sequences in the order of their
    names."""
    folder = Path(folder)
    refuse_no_folder(folder / "frames")
    dicts = read_all(lambda sequence: _sequence(folder, sequence, f"{name}/{sequence}", video_index),
                     folders_in(folder / "frames"), name=name, faults=faults)
    if not dicts:
        raise InputError(f"{folder / 'frames'} has no sequences; expected a folder of pictures for each")
    return dicts, {"has_labels": False, "image_root": str(folder), "frame_groups": None}


def _sequence(folder, sequence, video_id, video_index):
    pictures, path = numbered_pictures(folder / "frames" / sequence), folder / "anno" / f"{sequence}.txt"
    if pictures is None:
        raise InputError(f"{folder / 'frames' / sequence} has no pictures; expected 0.jpg and those that follow")
    boxes = read_boxes(path)
    refuse_length(path, len(boxes), 1, "the labels of TrackingNet's test part are hidden but for the first box")
    # From 0 on, also where the first picture is missing: the others keep their numbers.
    length = pictures.last + 1
    video_index.add(video_id, pictures.pattern, length, first=0)
    return sequence_dict(video_id, sequence, video_index, boxes=hidden_boxes(path, boxes, length))
