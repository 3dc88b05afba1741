"""The toy set as files: the ImageNet VID layout, so that everything that reads ImageNet VID reads it."""

import json
from pathlib import Path

from .toy import CLASSES
from .toy_files import grouped, rendered, write_part, write_picture

WNIDS = tuple(f"n9000000{i}" for i in range(len(CLASSES)))

_OBJECT = """\t<object>
\t\t<trackid>{track}</trackid>
\t\t<name>{wnid}</name>
\t\t<bndbox><xmax>{x2}</xmax><xmin>{x1}</xmin><ymax>{y2}</ymax><ymin>{y1}</ymin></bndbox>
\t\t<occluded>0</occluded>
\t\t<generated>0</generated>
\t</object>
"""
_FRAME = """<annotation>
\t<folder>{folder}</folder>
\t<filename>{name}</filename>
\t<source><database>toy</database></source>
\t<size><width>{side}</width><height>{side}</height></size>
{objects}</annotation>
"""


def write_toy(root, *, split, videos, seed):
    """Write `videos` videos of a split into the folder root -> root as a Path.

    split: "train" or "val", videos of 32 frames; "still", training pictures with four objects, each a video
    of one frame. Next to the lists, <list>_groups.json says which image ids are clean or deteriorated, and by
    what. Kept, refused and made whole as write_part says.
    """
    settings = {"split": split, "videos": videos, "seed": seed}
    return write_part(root, settings, lambda folder: _write_split(folder, split, videos, seed),
                      rivals={"train": ("still",), "still": ("train",)}.get(split, ()))


def _write_split(root, split, videos, seed):
    lists = root / "ImageSets" / "VID"
    lists.mkdir(parents=True)
    classes = dict(zip(WNIDS, CLASSES, strict=True))
    (root / "ImageSets" / "classes.json").write_text(json.dumps(classes, indent=1))
    states, frames, names = [], [], []
    for number, video in rendered(split, videos=videos, seed=seed):
        name = _video_id(split, number)
        _write_video(root, name, video)
        names.append(f"{name} {len(states) + 1} 0 {len(video.frames)}")
        frames += [(name, i, len(video.frames)) for i in range(len(video.frames))]
        states += video.deterioration
    _write_lists(lists, "val" if split == "val" else "train", names, frames, states)


def _write_lists(folder, kind, names, frames, states):
    groups = {group: [i + 1 for i in found] for group, found in grouped(states).items()}  # image ids start at 1
    every = {"val": [f"{name}/{i:06d} {n}" for n, (name, i, _) in enumerate(frames, 1)],
             "train": [f"{name} 1 {i} {length}" for name, i, length in frames]}[kind]
    for stem, lines in ((f"VID_{kind}_videos", names), (f"VID_{kind}_frames", every)):
        (folder / f"{stem}.txt").write_text("\n".join(lines) + "\n")
        (folder / f"{stem}_groups.json").write_text(json.dumps(groups))


def _video_id(split, number):
    if split == "val":
        return f"val/toy_val_{number:08d}"
    return f"train/ILSVRC2015_VID_train_{number // 1000:04d}/toy_{split}_{number:08d}"


def _write_video(root, video_id, video):
    pictures, labels = root / "Data" / "VID" / video_id, root / "Annotations" / "VID" / video_id
    pictures.mkdir(parents=True)
    labels.mkdir(parents=True)
    for i, (image, boxes) in enumerate(zip(video.frames, video.boxes, strict=True)):
        write_picture(pictures / f"{i:06d}.JPEG", image)
        objects = "".join(_OBJECT.format(track=track, wnid=WNIDS[label], x1=x1, y1=y1, x2=x2, y2=y2)
                          for track, label, x1, y1, x2, y2 in boxes)
        text = _FRAME.format(folder=Path(video_id).name, name=f"{i:06d}", side=len(image), objects=objects)
        (labels / f"{i:06d}.xml").write_text(text)
