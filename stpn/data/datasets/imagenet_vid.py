"""ImageNet VID, and every set written in its layout: lists and XML files -> detectron2 dataset dicts.

    <root>/Data/VID/<video>/%06d.JPEG            frames, numbered from 0
    <root>/Annotations/VID/<video>/%06d.xml
    <root>/ImageSets/VID/<list>.txt              or ImageSets/, Lists/, Lists/VID/
    <root>/ImageSets/classes.json                optional {"WordNet id": "name"}; else the 30 classes below
    <list>_groups.json beside a list             optional {"group": [image id, ...]}
"""

import json
import logging

import numpy as np
from detectron2.structures import BoxMode

from ...errors import InputError
from ..text_file import read_text
from . import annotation_cache, frame_xml, image_sets, key_frames

logger = logging.getLogger(__name__)

# {WordNet id: name} in the order of the category ids 0..29 (alphabetical by name, as everywhere).
CLASSES = {
    "n02691156": "airplane", "n02419796": "antelope", "n02131653": "bear", "n02834778": "bicycle",
    "n01503061": "bird", "n02924116": "bus", "n02958343": "car", "n02402425": "cattle",
    "n02084071": "dog", "n02121808": "domestic_cat", "n02503517": "elephant", "n02118333": "fox",
    "n02510455": "giant_panda", "n02342885": "hamster", "n02374451": "horse", "n02129165": "lion",
    "n01674464": "lizard", "n02484322": "monkey", "n03790512": "motorcycle", "n02324045": "rabbit",
    "n02509815": "red_panda", "n02411705": "sheep", "n01726692": "snake", "n02355227": "squirrel",
    "n02129604": "tiger", "n04468005": "train", "n01662784": "turtle", "n04530566": "watercraft",
    "n02062744": "whale", "n02391049": "zebra",
}
MOTION_FILE = "imagenet_vid_groundtruth_motion_iou.mat"  # rows follow the image ids of the full val list


def load_imagenet_vid(root, lists, *, video_index, every=1):
    """-> (dataset dicts, metadata).

    root: data set folder; lists: names of the list file without .txt, first found counts; every: keep each
    every-th video (ids stay those of the whole list). video_index is filled with the listed videos.
    metadata: {thing_classes, wnids} and, where the files exist, {frame_groups, motion_iou_file}.
    Frames without objects are kept: evaluation needs them, the training loader drops them and counts.
    """
    path, text = read_list(root, lists)
    name = path.stem if every == 1 else f"{path.stem}-every{every}"
    frames = image_sets.read_frames(text, path, root / "Data" / "VID")
    if every > 1:
        kept = set(list(dict.fromkeys(frame.video_id for frame in frames))[::every])
        frames = [frame for frame in frames if frame.video_id in kept]
    classes = read_classes(root)
    _index_videos(frames, root, video_index)
    paths = [f"{root}/Annotations/VID/{frame.video_id}/{frame.frame_index:06d}.xml" for frame in frames]
    ids = {wnid: i for i, wnid in enumerate(classes)}
    table = annotation_cache.load_or_parse(
        lambda: frame_xml.parse_files(paths, classes=ids, other_classes="error"),
        root=root, name=name, list_text=text, paths=paths, classes=ids)
    return make_dicts(frames, table, video_index), _metadata(classes, path)


def read_classes(root):
    """-> {WordNet id: name}, in the order of the category ids."""
    path = root / "ImageSets" / "classes.json"
    if not path.is_file():
        return CLASSES
    classes = _read_json(path)
    names = classes.values() if isinstance(classes, dict) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError(f'{path}: expected {{"id in the XML files": "class name", ...}}')
    return classes


def make_dicts(frames, table, video_index):
    """frames: ListedFrame of each row of the BoxTable. -> detectron2 dataset dicts, boxes in raw inclusive
    corners (the convention of COCO-style figures on this set: width is x2 - x1)."""
    ends = np.cumsum(table.counts)
    boxes, labels = table.boxes.tolist(), table.labels.tolist()
    return [{
        "file_name": video_index.path(frame.video_id, frame.frame_index),
        "image_id": frame.image_id, "width": int(width), "height": int(height),
        "video_id": frame.video_id, "frame_index": frame.frame_index, "video_length": frame.video_length,
        "annotations": [_annotation(box, label) for box, label in
                        zip(boxes[end - count:end], labels[end - count:end], strict=True)],
    } for frame, (width, height), count, end in zip(frames, table.sizes, table.counts, ends, strict=True)]


def _annotation(box, label):
    category_id, track_id, occluded, generated = label
    return {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": category_id, "track_id": track_id,
            "occluded": occluded, "generated": generated, "iscrowd": 0}


def read_list(root, lists):
    """-> (path, text) of the first list found; the 15-frame list is generated where it is wanted but missing."""
    path = image_sets.find_list(root, lists)
    if path is not None:
        return path, read_text(path, expected="a list, one frame or video a line")
    if key_frames.LIST in lists:
        return root / "ImageSets" / "VID" / f"{key_frames.LIST}.txt", key_frames.fifteen_frame_list(root)
    raise image_sets.missing_list(root, lists)


def _index_videos(frames, root, video_index):
    for video_id, length in {frame.video_id: frame.video_length for frame in frames}.items():
        folder = root / "Data" / "VID" / video_id
        video_index.add(video_id, image_sets.frame_pattern(folder), length)


def _metadata(classes, list_path):
    metadata = {"thing_classes": list(classes.values()), "wnids": list(classes)}
    groups = list_path.with_name(f"{list_path.stem}_groups.json")
    if groups.is_file():
        metadata["frame_groups"] = _read_json(groups)
    motion = list_path.with_name(MOTION_FILE)
    if motion.is_file() and "val" in list_path.stem:
        metadata["motion_iou_file"] = str(motion)
    return metadata


def _read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
