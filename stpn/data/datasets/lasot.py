"""LaSOT's test part, for evaluation.

    <folder>/testing_set.txt                        a sequence's name on each line, 280: "airplane-1"
    <folder>/<class>/<class>-<N>/img/00000001.jpg   or without the folder of the class
                                 groundtruth.txt    N lines "x,y,w,h", pixels
                                 full_occlusion.txt N flags, on one line with commas or one a line; optional
                                 out_of_view.txt    the same

The layout is taken from memory of the public archives; it has not been tried on them. Boxes are taken as they are.
"""

from pathlib import Path

import numpy as np

from ...errors import InputError
from ..text_file import read_text
from .number_lines import refuse
from .numbered_pictures import Numbered, numbered_pictures, refuse_from_zero
from .track_labels import read_boxes, read_flags, refuse_length
from .track_record import read_all, refuse_no_folder, sequence_dict


def load_lasot(folder, *, name, video_index, faults=None):
    """-> (dataset dicts, metadata) as load_got10k. absent: the target is fully occluded or out of view; cover None."""
    folder = Path(folder)
    refuse_no_folder(folder)
    dicts = read_all(lambda path: _sequence(path, f"{name}/{path.name}", video_index), _folders(folder), name=name,
                     faults=faults)
    return dicts, {"has_labels": True, "image_root": str(folder), "frame_groups": None}


def _folders(folder):
    """-> paths of the sequences that testing_set.txt names, in its order."""
    path = folder / "testing_set.txt"
    try:
        text = read_text(path, expected="the name of a sequence on each line")
    except FileNotFoundError:
        raise FileNotFoundError(f"list file not found: {path}; expected the names of the 280 test sequences, one a "
                                "line: it comes with LaSOT's evaluation toolkit") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    found = {name: folder / name.rpartition("-")[0] / name for _, name in lines}
    found |= {name: folder / name for name, place in found.items() if not place.is_dir()}
    refuse(path, [(number, f"there is no folder {name.rpartition('-')[0]}/{name}; add it, or take the line out")
                  for number, name in lines if "/" in name or not found[name].is_dir()])
    if not found:
        raise InputError(f"{path} names no sequence; expected a name on each line")
    return list(found.values())


def _sequence(path, video_id, video_index):
    pictures, boxes = numbered_pictures(path / "img"), read_boxes(path / "groundtruth.txt")
    length = len(boxes)
    pictures = pictures or Numbered.of(path / "img", first=1, last=length)
    refuse_from_zero(path / "img", pictures)
    refuse_length(path / "groundtruth.txt", length, pictures.last, f"the last picture has number {pictures.last}",
                  pictures=True)
    video_index.add(video_id, pictures.pattern, length, first=1)
    hidden = [read_flags(path / name, high=1, length=length, one_line=True)
              for name in ("full_occlusion.txt", "out_of_view.txt")]
    absent = np.isnan(boxes[:, 0]) | np.any([flags == 1 for flags in hidden if flags is not None], axis=0)
    return sequence_dict(video_id, path.name, video_index, boxes=np.where(np.isnan(boxes), 0.0, boxes), absent=absent)
