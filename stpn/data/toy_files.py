"""What the layouts of the toy set share on disk: sets that are whole or not there, pictures, groups of frames."""

import json
import os
import shutil
from pathlib import Path

import cv2
from tqdm import tqdm

from ..errors import InputError
from .toy import render_video, still_image
from .toy_damage import CLEAN, KINDS

GENERATOR = 1  # changes whenever the same seed would give other pictures
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]


def write_part(root, settings, write, *, rivals=()):
    """Let write(folder) fill a fresh folder with one split of a toy set and bring it into root -> root as a Path.

    settings: a dict with "split", "videos", "seed" and what else tells sets apart; root/toy_<split>.json records
    it. A complete part with the same settings is kept as it is. rivals: splits whose files have the same names.
    InputError if root holds another set, a rival, another layout or something else. The set is made beside root
    and renamed, so that root is whole or not there; where root holds the other split already, what says that this
    one is there comes last.
    """
    if settings["videos"] < 1:
        raise InputError(f"{settings['videos']} toy videos asked for; expected at least 1")
    root, settings = Path(root), {"generator": GENERATOR, **settings}
    split = settings["split"]
    part, kept = root / f"toy_{split}.json", root.is_dir()
    if part.is_file():
        found = json.loads(part.read_text())
        if found == settings:
            return root
        raise InputError(f"{root} holds another toy set ({found}; wanted {settings}); "
                         "delete the folder or choose another")
    _refuse_others(root, settings, rivals)
    work = root.with_name(f"{root.name}.{split}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    write(work)
    (work / part.name).write_text(json.dumps(settings))
    if kept:
        _move_into(work, root, part.name)
    else:
        os.replace(work, root)
    return root


def _refuse_others(root, settings, rivals):
    parts = sorted(root.glob("toy_*.json"))
    for rival in rivals:
        if root / f"toy_{rival}.json" in parts:
            raise InputError(f"{root} holds the toy set's {rival} part, whose lists have the same names; "
                             f"choose another folder for {settings['split']}")
    if any(json.loads(path.read_text()).get("layout") != settings.get("layout") for path in parts):
        raise InputError(f"{root} holds a toy set in another layout; choose another folder")
    if root.is_dir() and not parts and any(root.iterdir()):
        raise InputError(f"{root} holds something that is not a toy set; choose another folder")


def _move_into(work, root, last):
    """Move what is in work into the folder root: folders, then the files beside them (lists of a set), then `last`."""
    files = {path.name for path in work.iterdir() if path.is_file()}
    shutil.copytree(work, root, dirs_exist_ok=True, ignore=lambda folder, _: files if Path(folder) == work else ())
    for name in (*sorted(files - {last}), last):
        os.replace(work / name, root / name)
    shutil.rmtree(work)


def rendered(split, *, videos, seed):
    """Yield (number, ToyVideo) for `videos` videos of a split, "train", "val" or "still"."""
    for number in counted(split, videos):
        yield number, still_image(seed, number) if split == "still" else render_video(seed, split, number)


def counted(split, videos):
    """Numbers from 0 to videos - 1, with a progress bar."""
    return tqdm(range(videos), desc=f"toy {split}", unit="video", leave=False, disable=None)


def write_picture(path, image):
    """Write a uint8 (H, W, 3) RGB image as JPEG."""
    # Through memory: OpenCV's own file functions do not take every path.
    path.write_bytes(cv2.imencode(".jpg", image[:, :, ::-1], _JPEG)[1].tobytes())


def grouped(states):
    """States of frames, one each -> {"clean": positions from 0, "deteriorated": all others, kind: ...}, none empty.
    A frame whose state is None is in no group."""
    members = {CLEAN: (CLEAN,), "deteriorated": KINDS, **{kind: (kind,) for kind in KINDS}}
    groups = {name: [i for i, state in enumerate(states) if state in kinds] for name, kinds in members.items()}
    return {name: found for name, found in groups.items() if found}
