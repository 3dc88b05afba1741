"""The toy set for tracking as files: the GOT-10k layout, so that everything that reads GOT-10k reads it."""

import functools
import json

from .toy import CLASSES
from .toy_files import counted, grouped, write_part, write_picture
from .toy_track import SIDE, render_sequence

_META = """[METAINFO]
url: generated
begin: 00:00:00
end: 00:00:04
anno_fps: 10Hz
object_class: {name}
motion_class: drifting
major_class: toy
root_class: pattern
motion_adverb: slowly
resolution: ({side}, {side})
"""


def write_toy_got10k(root, *, split, videos, seed):
    """Write `videos` sequences of a split, "train" or "val", into the folder root -> root as a Path.

    A sequence is toy_track.render_sequence's. groups.json beside list.txt gives {group: {sequence: [frame indices from
    0]}}: the frames that show the target clean or deteriorated, and by what. Kept, refused and made whole as
    write_part says.
    """
    settings = {"split": split, "videos": videos, "seed": seed, "layout": "got10k"}
    return write_part(root, settings, functools.partial(_write_split, split=split, videos=videos, seed=seed))


def _write_split(root, *, split, videos, seed):
    folder, names, groups = root / split, [], {}
    for number in counted(split, videos):
        names.append(f"toy_{split}_{number + 1:06d}")
        sequence = render_sequence(seed, split, number)
        _write_sequence(folder / names[-1], sequence)
        for group, frames in grouped(sequence.states).items():
            groups.setdefault(group, {})[names[-1]] = frames
    (folder / "groups.json").write_text(json.dumps(groups))
    (folder / "list.txt").write_text("".join(f"{name}\n" for name in names))


def _write_sequence(folder, sequence):
    folder.mkdir(parents=True)
    for t, image in enumerate(sequence.frames, 1):
        write_picture(folder / f"{t:08d}.jpg", image)
    boxes = [",".join(f"{value:.4f}" for value in box) for box in sequence.boxes]
    labels = {"groundtruth.txt": boxes, "absence.label": (sequence.cover == 0).astype(int),
              "cover.label": sequence.cover, "cut_by_image.label": sequence.cut.astype(int)}
    for name, lines in labels.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    target = sequence.scene.objects[sequence.scene.target]
    (folder / "meta_info.ini").write_text(_META.format(name=CLASSES[target.label], side=SIDE))
