"""The toy set as files: the ImageNet VID layout, so that everything that reads ImageNet VID reads it."""

import json
import os
import shutil
from pathlib import Path

import cv2
from tqdm import tqdm

from ..errors import InputError
from .toy import CLASSES, render_video, still_image
from .toy_damage import CLEAN, KINDS

GENERATOR = 1  # changes whenever the same seed would give other pictures
WNIDS = tuple(f"n9000000{i}" for i in range(len(CLASSES)))
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]

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
    what. A complete set with the same settings is kept as it is; InputError if root holds another one.
    The set is made beside root and renamed, so that root is whole or not there.
    """
    root = Path(root)
    if videos < 1:
        raise InputError(f"{videos} toy videos asked for; expected at least 1")
    settings = {"generator": GENERATOR, "split": split, "videos": videos, "seed": seed}
    part, kept = root / f"toy_{split}.json", root.is_dir()
    if part.is_file():
        found = json.loads(part.read_text())
        if found == settings:
            return root
        raise InputError(f"{root} holds another toy set ({found}; wanted {settings}); "
                         "delete the folder or choose another")
    rival = {"train": "still", "still": "train"}.get(split)
    if rival and (root / f"toy_{rival}.json").is_file():
        raise InputError(f"{root} holds the toy set's {rival} part, whose lists have the same names; "
                         f"choose another folder for {split}")
    if kept and any(root.iterdir()) and not any(root.glob("toy_*.json")):
        raise InputError(f"{root} holds something that is not a toy set; choose another folder")
    work = root.with_name(f"{root.name}.{split}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    _write_split(work, split, videos, seed)
    (work / part.name).write_text(json.dumps(settings))
    if kept:  # the other split is there already: add this one's files, and last what says they are whole
        shutil.copytree(work, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(part.name))
        os.replace(work / part.name, part)
        shutil.rmtree(work)
    else:
        os.replace(work, root)
    return root


def _write_split(root, split, videos, seed):
    lists = root / "ImageSets" / "VID"
    lists.mkdir(parents=True)
    classes = dict(zip(WNIDS, CLASSES, strict=True))
    (root / "ImageSets" / "classes.json").write_text(json.dumps(classes, indent=1))
    states, frames, names = [], [], []
    for number in tqdm(range(videos), desc=f"toy {split}", unit="video", leave=False, disable=None):
        video = still_image(seed, number) if split == "still" else render_video(seed, split, number)
        name = _video_id(split, number)
        _write_video(root, name, video)
        names.append(f"{name} {len(states) + 1} 0 {len(video.frames)}")
        frames += [(name, i, len(video.frames)) for i in range(len(video.frames))]
        states += video.deterioration
    _write_lists(lists, "val" if split == "val" else "train", names, frames, states)


def _write_lists(folder, kind, names, frames, states):
    groups = {CLEAN: [i for i, s in enumerate(states, 1) if s == CLEAN],
              "deteriorated": [i for i, s in enumerate(states, 1) if s != CLEAN],
              **{k: [i for i, s in enumerate(states, 1) if s == k] for k in KINDS}}
    every = {"val": [f"{name}/{i:06d} {n}" for n, (name, i, _) in enumerate(frames, 1)],
             "train": [f"{name} 1 {i} {length}" for name, i, length in frames]}[kind]
    for stem, lines in ((f"VID_{kind}_videos", names), (f"VID_{kind}_frames", every)):
        (folder / f"{stem}.txt").write_text("\n".join(lines) + "\n")
        (folder / f"{stem}_groups.json").write_text(json.dumps({k: v for k, v in groups.items() if v}))


def _video_id(split, number):
    if split == "val":
        return f"val/toy_val_{number:08d}"
    return f"train/ILSVRC2015_VID_train_{number // 1000:04d}/toy_{split}_{number:08d}"


def _write_video(root, video_id, video):
    pictures, labels = root / "Data" / "VID" / video_id, root / "Annotations" / "VID" / video_id
    pictures.mkdir(parents=True)
    labels.mkdir(parents=True)
    for i, (image, boxes) in enumerate(zip(video.frames, video.boxes, strict=True)):
        # Through memory: OpenCV's own file functions do not take every path.
        (pictures / f"{i:06d}.JPEG").write_bytes(cv2.imencode(".jpg", image[:, :, ::-1], _JPEG)[1].tobytes())
        objects = "".join(_OBJECT.format(track=track, wnid=WNIDS[label], x1=x1, y1=y1, x2=x2, y2=y2)
                          for track, label, x1, y1, x2, y2 in boxes)
        text = _FRAME.format(folder=Path(video_id).name, name=f"{i:06d}", side=len(image), objects=objects)
        (labels / f"{i:06d}.xml").write_text(text)
