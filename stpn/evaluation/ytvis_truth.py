"""What a data set in YouTube-VIS layout expects: its videos, categories and, unless they are hidden, its tracks."""

import math
from dataclasses import dataclass, replace

from pycocotools import mask as coco_mask

from ..data.datasets.json_tables import refuse_fatal
from ..data.datasets.mask_rle import with_area
from ..data.datasets.ytvis import read_ytvis
from ..errors import InputError
from .ytvis_ap import mask_areas


@dataclass(frozen=True)
class Video:
    """length in frames; height and width in pixels."""

    length: int
    height: int
    width: int

    @property
    def size(self):
        return self.height, self.width


@dataclass(frozen=True)
class YtvisTruth:
    """videos: {id: Video} and categories: {id: name}, by ascending id; tracks: None where the labels are hidden, else
    dicts {"video_id", "category_id", "iscrowd", "areas", "segmentations"} as ytvis_ap takes them, in the file's
    order."""

    videos: dict
    categories: dict
    tracks: list | None

    def without_labels(self):
        return replace(self, tracks=None)


def load_ytvis_truth(path):
    """path: JSON in YouTube-VIS layout (data/datasets/ytvis.py); without `annotations`, or where they are null, the
    labels are hidden. -> YtvisTruth. InputError with the first entry that cannot be evaluated with."""
    content, problems = read_ytvis(path)
    refuse_fatal(path, problems)
    videos = {row["id"]: Video(len(row["file_names"]), row["height"], row["width"])
              for row in sorted(content["videos"], key=lambda row: row["id"])}
    categories = {row["id"]: row["name"] for row in sorted(content["categories"], key=lambda row: row["id"])}
    rows = content.get("annotations")
    return YtvisTruth(videos, categories, rows if rows is None else [
        _track(row, videos[row["video_id"]], f"{path}: annotations[{i}].areas") for i, row in enumerate(rows)])


def _track(row, video, where):
    rles = [_rle(mask, video.size) for mask in row["segmentations"]]
    areas = mask_areas(rles) if row.get("areas") is None else row["areas"]
    if type(areas) is not list or len(areas) != video.length or not all(map(_is_area, areas)):
        raise InputError(f"{where} is {str(areas)[:60]}; expected a number of pixels or null for each of the "
                         f"{video.length} frames of video {row['video_id']}, or no areas at all: correct it")
    return {"video_id": row["video_id"], "category_id": row["category_id"], "iscrowd": row.get("iscrowd", 0),
            "areas": areas, "segmentations": rles}


def _rle(mask, size):
    """mask: RLE, polygons, or nothing, sound as read_ytvis leaves it; size: (height, width). -> RLE or None."""
    if isinstance(mask, list):
        polygons = with_area(mask)
        return coco_mask.merge(coco_mask.frPyObjects(polygons, *size)) if polygons else None
    if mask and isinstance(mask["counts"], list):  # read_ytvis compresses those of two keys
        return coco_mask.frPyObjects(mask, *size)
    return mask or None


def _is_area(value):
    return value is None or type(value) in (int, float) and math.isfinite(value)
