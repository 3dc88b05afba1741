"""The plain format for a user's own videos: one COCO-style JSON -> detectron2 dataset dicts, and its writer.

    {"categories":  [{"id", "name"}],
     "videos":      [{"id", "file_name"; width, height, length}],             a video file, or a folder of pictures
     "images":      [{"id", "video_id", "frame_index"; file_name, width, height}],   the labelled frames
     "annotations": [{"id", "image_id", "category_id", "bbox"; track_id, iscrowd, occluded, generated}]}

What stands after a semicolon is optional. See datasets/README.md.
"""

import json
import logging
import os
from pathlib import Path

from detectron2.structures import BoxMode

from ...errors import InputError, atomic_path
from .continuous_box import clip_box, corners, is_finite
from .json_tables import first_of, refuse_fatal
from .video_json_check import TABLES, Problem, check_tables, read_content
from .video_on_disk import find_video

__all__ = ["Problem", "inspect_video_json", "load_video_json", "read_categories", "write_video_json"]

logger = logging.getLogger(__name__)

_NO_TRACK = -1


def inspect_video_json(path):
    """-> (what the JSON says, or None where that is not usable; list of Problem, all of them).

    Also the videos are looked for, counted and measured (the head of each file, the list of each folder).
    Fatal problems of the JSON itself come alone: ids that are wrong cannot be followed to files and boxes.
    """
    content, _, problems = _inspect(path)
    return content, problems


def load_video_json(path, *, video_index, name=None):
    """-> (dataset dicts, metadata) of the labelled frames, as load_imagenet_vid; boxes are continuous corners.

    name: of the data set; its part before the last "/" begins the video ids (default: the JSON's folder).
    video_index is filled with all videos, those without a labelled frame included.
    metadata: {thing_classes, thing_dataset_id_to_contiguous_id}; class numbers follow ascending ids.
    Boxes are clipped to the picture; one that is then less than a pixel wide or high (swapped corners
    included), or is not finite, is dropped and counted. InputError with the first fatal problem.
    """
    path = Path(path)
    content, videos, problems = _inspect(path)
    refuse_fatal(path, problems, name)
    prefix = f"{path.parent.name}/" if name is None else name[:name.rfind("/") + 1]
    names = {video["id"]: f"{prefix}{video['file_name']}" for video in content["videos"]}
    for key, found in videos.items():
        if found.frames is None:
            video_index.add_file(names[key], found.path, found.length)
        else:
            video_index.add(names[key], found.frames)
    numbers = {key: number for number, key in enumerate(sorted(row["id"] for row in content["categories"]))}
    dicts = _dicts(content, videos, names, numbers, video_index)
    _log(name or path, content, problems)
    return dicts, {"thing_classes": _names(content), "thing_dataset_id_to_contiguous_id": numbers}


def read_categories(path):
    """-> class names in the order of the class numbers; nothing else of the file is looked at."""
    content, problems = read_content(path)
    refuse_fatal(path, problems or [p for p in check_tables(content) if p.where.startswith("categories")])
    return _names(content)


def write_video_json(path, *, categories, videos, images, annotations):
    """Write lists of dicts in the format above, one a line. Each must be complete and its ids right
    (InputError, nothing written); the videos need not be there yet. Other keys are kept."""
    content = {"categories": categories, "videos": videos, "images": images, "annotations": annotations}
    problems = check_tables(content)
    problems += [Problem(f"annotations[{i}].bbox", f"is {row['bbox']}; expected finite numbers", "box")
                 for i, row in enumerate(annotations if not problems else ()) if not is_finite(row["bbox"])]
    if problems:
        raise InputError(f"not written: {first_of(path, problems)}")
    tables = (f'"{table}": [' + ",".join(f"\n {_line(row)}" for row in content[table]) + "]" for table in TABLES)
    text = "{" + ",\n".join(tables) + "}\n"
    with atomic_path(path) as part:
        # A file name that is not UTF-8 holds lone surrogates: their escapes are JSON.
        part.write_bytes(text.encode("utf-8", "backslashreplace"))


def _line(row):
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def _inspect(path):
    """-> (content or None, {video's id: VideoOnDisk}, problems)."""
    content, problems = read_content(path)
    problems = problems or check_tables(content)
    if problems:
        return None, {}, problems
    images = {row["id"]: {} for row in content["videos"]}
    for i, row in enumerate(content["images"]):
        images[row["video_id"]][f"images[{i}]"] = row
    videos, root = {}, os.path.dirname(os.path.abspath(path))
    for i, row in enumerate(content["videos"]):
        videos[row["id"]], found = find_video(row, images[row["id"]], root, where=f"videos[{i}]")
        problems += found
    sizes = {image["id"]: videos[key].sizes[image["frame_index"]] for key, frames in images.items() if videos[key]
             for image in frames.values()}
    problems += [problem for i, row in enumerate(content["annotations"]) if row["image_id"] in sizes
                 for problem in _check_box(row["bbox"], sizes[row["image_id"]], f"annotations[{i}].bbox")]
    return content, videos, problems


def _check_box(bbox, size, where):
    kept = clip_box(bbox, size)
    if kept is None:
        text = f"{bbox} has less than a pixel inside its picture of {size[0]}x{size[1]}, or is no box: dropped"
        yield Problem(where, text, "box", fatal=False)
    elif max(abs(a - b) for a, b in zip(kept, corners(bbox), strict=True)) > 1e-6:  # not by rounding alone
        yield Problem(where, f"{bbox} reaches over its picture of {size[0]}x{size[1]}: clipped", "box", fatal=False)


def _names(content):
    return [row["name"] for row in sorted(content["categories"], key=lambda row: row["id"])]


def _dicts(content, videos, names, numbers, video_index):
    sizes = {image["id"]: videos[image["video_id"]].sizes[image["frame_index"]] for image in content["images"]}
    annotations = {key: [] for key in sizes}
    for row in content["annotations"]:
        box = clip_box(row["bbox"], sizes[row["image_id"]])
        if box is not None:
            annotations[row["image_id"]].append({
                "bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": numbers[row["category_id"]],
                "track_id": row.get("track_id", _NO_TRACK),
                **{flag: row.get(flag, 0) for flag in ("occluded", "generated", "iscrowd")}})
    return [{
        "file_name": video_index.path(names[image["video_id"]], image["frame_index"]), "image_id": image["id"],
        "width": sizes[image["id"]][0], "height": sizes[image["id"]][1], "video_id": names[image["video_id"]],
        "frame_index": image["frame_index"], "video_length": video_index.length(names[image["video_id"]]),
        "annotations": annotations[image["id"]]} for image in content["images"]]


def _log(name, content, problems):
    boxes = [problem.message for problem in problems if problem.kind == "box"]
    dropped = sum(message.endswith("dropped") for message in boxes)
    if boxes:
        logger.warning("%s: dropped %d of %d boxes that are empty, outside their picture or not finite; clipped %d",
                       name, dropped, len(content["annotations"]), len(boxes) - dropped)
    without = len(content["videos"]) - len({row["video_id"] for row in content["images"]})
    if without:
        logger.info("%s: %d of %d videos have no labelled frame: training does not use them, and evaluation runs them "
                    "without a figure that depends on them; take them out of \"videos\" to save that time", name,
                    without, len(content["videos"]))
