"""A small set in YouTube-VIS form: two videos, three tracks, masks in three forms, and the files for it."""

import functools
import operator

import cv2
import numpy as np
from pycocotools import mask as coco_mask

SIZES = {5: (24, 32), 2: (40, 30)}  # id of the video -> (H, W)
LENGTHS = {5: 4, 2: 3}
COLOR = {11: (250, 20, 20), 12: (20, 250, 20), 13: (20, 20, 250)}


def shape(track, t):
    """-> bool (H, W): a moving figure that no rectangle is."""
    mask = np.zeros(SIZES[2 if track == 13 else 5], bool)
    x, y = 2 + 3 * t, 4 if track == 11 else 14
    mask[y:y + 8, x:x + 10] = True
    if track != 13:  # that one is written as a polygon
        mask[y:y + 4, x:x + 5] = False
    return mask


def counts(mask):
    """bool (H, W) -> run lengths down the columns, by a plain walk."""
    runs, value = [0], False
    for pixel in mask.T.ravel():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def as_list(mask):
    return {"size": list(mask.shape), "counts": counts(mask)}


def as_text(mask):
    return {"size": list(mask.shape), "counts": coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()}


def as_polygon(mask):
    ys, xs = np.nonzero(mask)
    left, top, right, bottom = map(float, (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
    return [[left, top, right, top, right, bottom, left, bottom]]


def content():
    """Track 11 is not seen in frame 1 of video 5, track 13 not in frame 2 of video 2."""
    videos = [{"id": v, "width": SIZES[v][1], "height": SIZES[v][0], "length": LENGTHS[v],
               "file_names": [f"clip{v}/{5 * t:05d}.png" for t in range(LENGTHS[v])]} for v in SIZES]
    masks = {11: [None if t == 1 else as_list(shape(11, t)) for t in range(4)],
             12: [as_text(shape(12, t)) for t in range(4)],
             13: [as_polygon(shape(13, t)) for t in range(2)] + [None]}
    annotations = [{"id": k, "video_id": 2 if k == 13 else 5, "category_id": 7 if k == 12 else 3, "iscrowd": 0,
                    "segmentations": masks[k]} for k in masks]
    return {"info": {"year": 2019}, "videos": videos, "annotations": annotations,
            "categories": [{"id": 7, "name": "cup"}, {"id": 3, "name": "ball"}]}


def changed(**places):
    """The content with what lies at table__index__key__index set to another value."""
    what = content()
    for place, value in places.items():
        *path, last = (int(part) if part.isdigit() else part for part in place.split("__"))
        functools.reduce(operator.getitem, path, what)[last] = value
    return what


def picture(video, t):
    """RGB uint8 (H, W, 3): each figure in its colour on a dark ground."""
    image = np.full((*SIZES[video], 3), 15 * t, np.uint8)
    for track in (13,) if video == 2 else (11, 12):
        if (track, t) not in ((11, 1), (13, 2)):
            image[shape(track, t)] = COLOR[track]
    return image


def write_pictures(folder):
    for video, length in LENGTHS.items():
        for t in range(length):
            path = folder / f"clip{video}" / f"{5 * t:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture(video, t)[:, :, ::-1])
    return folder
