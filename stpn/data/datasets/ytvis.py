"""YouTube-VIS's form, of the 2019 and 2021 sets, of OVIS and of a user's own: one JSON -> a dict for each video.

    {"categories":  [{"id", "name"}],
     "videos":      [{"id", "width", "height", "file_names"; length}],
     "annotations": [{"id", "video_id", "category_id", "segmentations"; bboxes, iscrowd}]}    absent or null: no labels

What stands after a semicolon is optional. An annotation is one object in one video; segmentations has an entry for
each frame: null where the object is not seen, RLE or polygons (mask_rle.py). See datasets/README.md.
"""

import gc
import logging
import math
import os
from pathlib import Path

from detectron2.structures import BoxMode

from .frame_groups import read_groups
from .json_search import find_value, open_text, read_value
from .json_tables import check_table, read_content, refuse_fatal
from .mask_rle import compact, mask_box
from .ytvis_check import TABLES, check_ytvis, is_labelled, masks_of

__all__ = ["is_ytvis_json", "load_ytvis", "picture_folder", "read_ytvis", "read_ytvis_categories"]

logger = logging.getLogger(__name__)


def load_ytvis(path, image_root=None, *, name, video_index):
    """-> (dataset dicts, metadata).

    path: JSON file; image_root: folder to which file_names are relative, None: picture_folder(); name: begins the
    video ids, "<name>/<id in the JSON>"; video_index is filled with all videos.
    A dict a video: {video_id, json_id, file_name: of the first frame, height, width: pixels, length, video_length:
    frames, annotations: for each frame the list of {id: of the track, category_id: class number, iscrowd, bbox,
    bbox_mode, segmentation: RLE or polygons} of the objects seen in it}. metadata: {thing_classes,
    thing_dataset_id_to_contiguous_id, json_file, image_root, has_labels and, where there is <stem>_groups.json beside
    the JSON, frame_groups {group: {json_id: [frame indices]}}}. Class numbers follow ascending ids.
    Polygons of less than 3 points, and tracks without a mask in any frame, are dropped and counted. InputError with
    the first fault that is fatal.
    """
    content, problems = read_ytvis(path)
    refuse_fatal(path, problems, name)
    image_root = image_root or picture_folder(path, content["videos"][0]["file_names"][0])
    numbers = {key: number for number, key in enumerate(sorted(row["id"] for row in content["categories"]))}
    names = {video["id"]: f"{name}/{video['id']}" for video in content["videos"]}
    for video in content["videos"]:
        video_index.add(names[video["id"]], [os.path.join(image_root, file) for file in video["file_names"]])
    dicts = {video["id"]: _video_dict(video, names[video["id"]], video_index) for video in content["videos"]}
    for row in content.get("annotations") or ():
        _add_track(dicts[row["video_id"]], row, numbers[row["category_id"]])
    _log_dropped(name, [problem.kind for problem in problems])
    metadata = {"thing_classes": _names(content), "thing_dataset_id_to_contiguous_id": numbers,
                "json_file": str(path), "image_root": str(image_root), "has_labels": is_labelled(content)}
    groups = Path(path).with_name(f"{Path(path).stem}_groups.json")
    if groups.is_file():
        metadata["frame_groups"] = read_groups(groups, {key: video["length"] for key, video in dicts.items()})
    return list(dicts.values()), metadata


def read_ytvis(path):
    """-> (what the JSON says, with the counts of its RLE compressed; list of Problem, all of them)."""
    enabled = gc.isenabled()
    gc.disable()  # a hundred thousand masks are as many objects, none of them garbage
    try:
        content, problems = read_content(path, object_hook=compact)
        return content, problems or check_ytvis(content)
    finally:
        if enabled:
            gc.enable()


def read_ytvis_categories(path):
    """-> class names in the order of the class numbers. Nothing else of the file is looked at: a hundred thousand
    masks would take long."""
    try:
        with open_text(path) as text:
            content, problems = {"categories": read_value(text, "categories")}, []
    except (OSError, ValueError, RecursionError):
        content, problems = read_content(path)
    if not problems and not isinstance(content, dict):
        problems = check_ytvis(content)
    refuse_fatal(path, problems or list(check_table(content, "categories", TABLES["categories"])))
    return _names(content)


def is_ytvis_json(path):
    """Whether a JSON file names the frames of its videos (YouTube-VIS's form), and has no table of images (the plain
    format's). It is searched, not read: the largest take seconds to read."""
    with open_text(path) as text:
        return find_value(text, "file_names") >= 0 and find_value(text, "images") < 0


def picture_folder(path, first):
    """-> folder that the file_names of a user's own JSON file are relative to: that of <stem>/JPEGImages (for
    train_sub and val_sub also train/JPEGImages), JPEGImages and the JSON's own folder in which the first frame, so
    named, is; without it, the first that there is."""
    path = Path(path).absolute()
    stems = [path.stem, *(["train"] if path.stem.endswith("_sub") else [])]
    folders = [*(path.parent / stem / "JPEGImages" for stem in stems), path.parent / "JPEGImages", path.parent]
    there = [folder for folder in folders if (folder / first).is_file()]
    return next(iter(there or filter(Path.is_dir, folders)))


def _video_dict(video, video_id, video_index):
    length = len(video["file_names"])
    return {"video_id": video_id, "json_id": video["id"], "file_name": video_index.path(video_id, 0),
            "height": video["height"], "width": video["width"], "length": length, "video_length": length,
            "annotations": [[] for _ in range(length)]}


def _add_track(video, row, category_id):
    size = video["height"], video["width"]
    for t, mask, box in masks_of(row):
        if box is None or not all(map(math.isfinite, box)):
            box = mask_box(mask, size)
        video["annotations"][t].append({
            "id": row["id"], "category_id": category_id, "iscrowd": row.get("iscrowd", 0), "bbox": box,
            "bbox_mode": BoxMode.XYWH_ABS, "segmentation": mask})


def _log_dropped(name, kinds):
    if "polygon" in kinds:
        logger.warning("%s: dropped polygons of less than 3 points from %d masks", name, kinds.count("polygon"))
    if "track unseen" in kinds:
        logger.warning("%s: dropped %d tracks without a mask in any frame", name, kinds.count("track unseen"))


def _names(content):
    return [row["name"] for row in sorted(content["categories"], key=lambda row: row["id"])]
