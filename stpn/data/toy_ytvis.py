"""The toy set with masks as files: the YouTube-VIS 2019 layout, so that everything that reads YouTube-VIS reads it."""

import functools
import json

from pycocotools import mask as coco_mask

from .datasets.mask_rle import encode
from .toy import CLASSES
from .toy_files import grouped, rendered, write_part, write_picture

LISTS = {"train": "train", "val": "valid", "still": "still"}  # split of the toy set -> name of its JSON and folder


def write_toy_ytvis(root, *, split, videos, seed):
    """Write `videos` videos of a split into the folder root -> root as a Path.

    split: "train" or "val" (valid.json), videos of 32 frames; "still", pictures with four objects, each a video of
    one frame. The videos are those of toy_layout.write_toy. Beside <list>.json, <list>_groups.json gives {group:
    {video id: [frame indices]}}: the frames that are clean or deteriorated, and by what. Kept, refused and made
    whole as write_part says.
    """
    settings = {"split": split, "videos": videos, "seed": seed, "layout": "ytvis"}
    return write_part(root, settings, functools.partial(_write_split, split=split, videos=videos, seed=seed))


def _write_split(root, *, split, videos, seed):
    name = LISTS[split]
    content, groups = _empty_set(seed), {}
    for number, video in rendered(split, videos=videos, seed=seed):
        record = _video_record(number + 1, f"toy_{split}_{number:08d}", video)
        folder = root / name / "JPEGImages"
        (folder / record["file_names"][0]).parent.mkdir(parents=True)
        for file_name, image in zip(record["file_names"], video.frames, strict=True):
            write_picture(folder / file_name, image)
        content["videos"].append(record)
        content["annotations"] += _annotations(record, video, first_id=len(content["annotations"]) + 1)
        for group, frames in grouped(video.deterioration).items():
            groups.setdefault(group, {})[str(record["id"])] = frames
    for stem, value in ((name, content), (f"{name}_groups", groups)):
        (root / f"{stem}.json").write_text(json.dumps(value))


def _empty_set(seed):
    return {"info": {"description": f"generated toy set, seed {seed}"}, "licenses": [],
            "categories": [{"id": i, "name": name, "supercategory": "object"} for i, name in enumerate(CLASSES, 1)],
            "videos": [], "annotations": []}


def _video_record(number, name, video):
    height, width = video.frames[0].shape[:2]
    return {"id": number, "width": width, "height": height, "length": len(video.frames),
            "file_names": [f"{name}/{t:05d}.jpg" for t in range(len(video.frames))]}


def _annotations(record, video, first_id):
    """-> one annotation a track; frames in which nothing of it is to be seen are null."""
    masks = list(zip(*(video.masks(t) for t in range(record["length"]))))  # by track, then by frame
    return [{"id": first_id + track, "video_id": record["id"], "category_id": video.objects[track].label + 1,
             "iscrowd": 0, **{key: record[key] for key in ("width", "height", "length")}, **_shapes(frames)}
            for track, frames in enumerate(masks)]


def _shapes(masks):
    """Masks bool (H, W) of a track -> its "segmentations" (compressed RLE), "areas" (pixels), "bboxes" (XYWH, tight
    around the mask)."""
    codes = [encode(mask) if mask.any() else None for mask in masks]
    return {"segmentations": codes,
            "areas": [code and int(coco_mask.area(code)) for code in codes],
            "bboxes": [code and coco_mask.toBbox(code).tolist() for code in codes]}
