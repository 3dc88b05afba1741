"""CocoVID files, the COCO-style JSON of mmtracking and of what follows it -> the plain video format.

    videos: id, name    images: id, video_id, frame_id (from 0), file_name, width, height, is_vid_train_frame
    annotations: image_id, category_id, instance_id, bbox [x, y, w, h], iscrowd, occluded, generated

A widespread converter to this format takes the frame numbers of ImageNet VID's 15-frame list, which count from 0,
for numbers from 1: each of its key frames (is_vid_train_frame) is then the one before, and frame 0 is lost.
"""

import os
from collections import Counter
from pathlib import Path

from ...errors import InputError
from ..datasets.key_frames import fifteen_frames
from ..datasets.video_json_check import read_content
from .converting import PlainSet, chosen, relative
from .frames import frame_positions

KEY_FRAMES = ("all", "flagged", "published")
_NUMBER = int, float
_TABLES = {"categories": {"id": int, "name": str}, "videos": {"id": int},
           "images": {"id": int, "file_name": str, "frame_id": int},
           "annotations": {"image_id": int, "category_id": int, "bbox": list}}


def convert_cocovid(path, output, *, pictures, classes=None, key_frames="all"):
    """-> PlainSet.

    path: the CocoVID file; output: the JSON file; pictures: folder that the images' file names start from;
    classes: names to keep, default all. key_frames: the frames that become labelled ones: "all" listed, those
    "flagged" is_vid_train_frame, or the "published" 15 of each video.
    """
    if key_frames not in KEY_FRAMES:
        raise InputError(f"key frames {key_frames!r}; expected {', '.join(KEY_FRAMES)}")
    content = _read(path)
    names = {row["id"]: row["name"] for row in sorted(content["categories"], key=lambda row: row["id"])}
    plain = PlainSet(chosen(classes, names.values()))
    videos, boxes = _images_by_video(content, plain, path), _boxes_by_image(content, names, path)
    _warn_of_shifted_flags(plain, videos, key_frames)
    wrong_numbers = Counter()
    for images in videos.values():
        kept = _key_frames(images, key_frames)
        plain.dropped["frames that are no key frames"] += len(images) - len(kept)
        plain.dropped["videos without a labelled frame"] += not kept
        if kept:
            _add_video(plain, kept, boxes, Path(pictures), output, wrong_numbers)
    if wrong_numbers:
        some = ", ".join(f"{by:+d} ({count} frames)" for by, count in wrong_numbers.most_common(3))
        plain.notes.append("frame_id is not the picture's position in its folder, from 0; the position is used. "
                           f"frame_id - position: {some}")
    return plain


def _add_video(plain, images, boxes, pictures, output, wrong_numbers):
    folders = {os.path.dirname(image["file_name"]) for image in images}
    if len(folders) != 1:
        raise InputError(f"the pictures of video {images[0]['video_id']} lie in {len(folders)} folders "
                         f"({', '.join(sorted(folders)[:2])}, ...); a video's pictures must share one")
    folder = pictures / folders.pop()
    positions, seen = frame_positions(folder), set()
    video_id = plain.add_video(relative(folder, output), length=len(positions) or None)
    for image in sorted(images, key=lambda image: image["frame_id"]):
        position = positions.get(os.path.basename(image["file_name"])) if positions else image["frame_id"]
        if position is None or position in seen:
            plain.dropped["frames that have no picture" if position is None else "frames that are listed twice"] += 1
            continue
        seen.add(position)
        if position != image["frame_id"]:
            wrong_numbers[image["frame_id"] - position] += 1
        size = (image["width"], image["height"]) if {"width", "height"} <= image.keys() else None
        image_id = plain.add_frame(video_id, position, size=size)
        for label, row in boxes.get(image["id"], ()):
            x, y, width, height = row["bbox"]
            plain.add_box(image_id, label, (x, y, x + width, y + height), track=row.get("instance_id"),
                          **{flag: row.get(flag, 0) for flag in ("iscrowd", "occluded", "generated")})


def _key_frames(images, choice):
    """images: of one whole video -> those that become labelled frames."""
    if choice == "flagged":
        return [image for image in images if image.get("is_vid_train_frame")]
    if choice == "published":
        ordered = sorted(images, key=lambda image: image["frame_id"])
        return [ordered[i] for i in fifteen_frames(len(ordered))]
    return images


def _warn_of_shifted_flags(plain, videos, choice):
    """Compare the flagged frames of each video with the published list, moved by one and as it is."""
    shifted = lost = same = 0
    for images in videos.values():
        flagged = {image["frame_id"] for image in images if image.get("is_vid_train_frame")}
        right = set(fifteen_frames(len(images)))
        same += flagged == right
        shifted += bool(flagged) and flagged == {i - 1 for i in right if i}
        lost += bool(flagged) and flagged == {i - 1 for i in right if i} and 0 in right
    if shifted > same:
        plain.notes.append(
            f"the frames flagged is_vid_train_frame are in {shifted} of {len(videos)} videos each the one before those "
            f"of the published 15-frame list ({lost} frames lost)"
            + ("; --key-frames published takes the list's" if choice == "flagged" else ""))


def _images_by_video(content, plain, path):
    videos = {row["id"]: [] for row in content["videos"]}
    for i, image in enumerate(content["images"]):
        video_id = image.get("video_id", -1)
        if video_id in videos:
            videos[video_id].append(image)
        elif video_id == -1:
            plain.dropped["pictures that belong to no video"] += 1
        else:
            raise InputError(f"{path}: images[{i}].video_id is {video_id!r}, which is not the id of any video")
    return videos


def _boxes_by_image(content, names, path):
    """-> {image id: list of (class name, annotation)}."""
    boxes = {image["id"]: [] for image in content["images"]}
    for i, row in enumerate(content["annotations"]):
        if row["image_id"] not in boxes or row["category_id"] not in names:
            raise InputError(f"{path}: annotations[{i}] is of image {row['image_id']} and category "
                             f"{row['category_id']}; one of the two is not in the file")
        if len(row["bbox"]) != 4 or not all(isinstance(value, _NUMBER) for value in row["bbox"]):
            raise InputError(f"{path}: annotations[{i}].bbox is {str(row['bbox'])[:60]}; expected four numbers")
        boxes[row["image_id"]].append((names[row["category_id"]], row))
    return boxes


def _read(path):
    """-> the file's content with every table and key that is needed, or InputError naming the first that is not."""
    content, problems = read_content(path)
    if problems:
        raise InputError(f"{path} {problems[0].message}")
    for table, keys in _TABLES.items():
        rows = content.get(table) if isinstance(content, dict) else None
        if not isinstance(rows, list):
            raise InputError(f"{path} has no list {table!r}; expected a CocoVID file with {', '.join(_TABLES)}")
        for i, row in enumerate(rows):
            for key, kind in keys.items():
                if not isinstance(row, dict) or not isinstance(row.get(key), kind):
                    raise InputError(f"{path}: {table}[{i}] has no {key} of type {kind.__name__}; expected a CocoVID "
                                     "file")
    return content
