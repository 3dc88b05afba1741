"""What is wrong with a file in YouTube-VIS form: every fault, each with its place in the JSON.

    {"categories": [...], "videos": [...], "annotations": [...]}     see ytvis.py
"""

import itertools

from .json_tables import (
    FLAG,
    ID,
    NAME,
    PIXELS,
    Field,
    Problem,
    check_references,
    check_table,
    is_box,
    is_whole,
    repeats,
    shown,
)
from .mask_rle import fault, with_area

_SIDE = PIXELS._replace(required=True)
_FILES = Field(lambda v: isinstance(v, list) and bool(v) and all(isinstance(f, str) and f.strip() for f in v),
               "a list of the frames' file names, at least one")
_MASKS = Field(lambda v: isinstance(v, list), "a list with the object's mask in each frame of its video, or null")
_BOXES = Field(lambda v: v is None or isinstance(v, list) and all(not box or is_box(box) for box in v),
               "a list of [x, y, width, height] or null", required=False)
TABLES = {
    "categories": {"id": ID, "name": NAME},
    "videos": {"id": ID, "width": _SIDE, "height": _SIDE, "file_names": _FILES,
               "length": Field(lambda v: is_whole(v, 1), "a whole number of frames, at least 1", required=False)},
    "annotations": {"id": ID, "video_id": ID, "category_id": ID, "segmentations": _MASKS, "bboxes": _BOXES,
                    "iscrowd": FLAG},
}


def is_labelled(content):
    """Whether there is a table of annotations: test sets have none, or null in its place."""
    return content.get("annotations") is not None


def check_ytvis(content):
    """-> Problems of the content: keys, types, ids, references, lengths, the masks' form and size. No mask is decoded,
    and files are not looked for. Polygons without area and tracks that are never seen are not fatal."""
    if not isinstance(content, dict):
        return [Problem("", f"holds {shown(content)}; expected an object with {', '.join(TABLES)}", "structure")]
    tables = {table: fields for table, fields in TABLES.items() if table != "annotations" or is_labelled(content)}
    problems = [problem for table, fields in tables.items() for problem in check_table(content, table, fields)]
    # Ids can be compared only once all of them are numbers, and masks only with the video they belong to.
    problems = problems or [*_check_ids(content, tables), *_check_lengths(content)]
    return problems or list(_check_masks(content))


def _check_ids(content, tables):
    for table in tables:
        yield from repeats(table, "id", content[table], lambda row: row["id"])
    yield from repeats("categories", "name", content["categories"], lambda row: row["name"])
    if "annotations" in tables:
        yield from check_references(content, "annotations", "video_id", "videos")
        yield from check_references(content, "annotations", "category_id", "categories")


def _check_lengths(content):
    for i, video in enumerate(content["videos"]):
        count = len(video["file_names"])
        if video.get("length", count) != count:
            yield Problem(f"videos[{i}].length", f"is {video['length']}, but video {video['id']} has {count} "
                          "file_names; correct one of them", "structure")
    lengths = {video["id"]: len(video["file_names"]) for video in content["videos"]}
    for i, row in enumerate(content.get("annotations") or ()):
        for name in ("segmentations", "bboxes"):
            given, expected = row.get(name), lengths.get(row["video_id"])
            if given is not None and expected is not None and len(given) != expected:
                yield Problem(f"annotations[{i}].{name}", f"has {len(given)} entries, but video {row['video_id']} has "
                              f"{expected} frames; expected one for each, null where the object is not seen",
                              "structure")


def _check_masks(content):
    videos = {video["id"]: video for video in content["videos"]}
    for i, row in enumerate(content.get("annotations") or ()):
        video = videos[row["video_id"]]
        if not any(row["segmentations"]):
            yield Problem(f"annotations[{i}].segmentations", f"has no mask in any frame: track {row['id']} of video "
                          f"{video['id']} is never seen", "track unseen", fatal=False)
        for t, mask in enumerate(row["segmentations"]):
            if mask:  # null, and what is empty, means that the object is not seen
                yield from _check_mask(mask, video, t, f"annotations[{i}].segmentations[{t}]")


def _check_mask(mask, video, t, where):
    frame = f"frame {t} of video {video['id']} ({video['file_names'][t]})"
    # What json_tables.read_content made bytes of has been looked at.
    wrong = None if isinstance(mask, dict) and isinstance(mask.get("counts"), bytes) else fault(mask)
    if wrong is not None:
        yield Problem(f"{where}{wrong[0]}", f"{wrong[1]}: {frame}", "structure")
    elif isinstance(mask, dict) and list(mask["size"]) != [video["height"], video["width"]]:
        yield Problem(f"{where}.size", f"is {list(mask['size'])}, but {frame} has height {video['height']} and width "
                      f"{video['width']}; one of the two belongs to another picture", "size")
    elif isinstance(mask, list) and len(with_area(mask)) < len(mask):
        yield Problem(where, f"has a polygon of less than 3 points: {frame}", "polygon", fatal=False)


def masks_of(row):
    """Yield (frame index, segmentation, box or None) of an annotation's frames in which the object is seen; polygons
    without area are left out."""
    boxes = row.get("bboxes") or itertools.repeat(None)
    for t, (mask, box) in enumerate(zip(row["segmentations"], boxes, strict=False)):
        mask = with_area(mask) if isinstance(mask, list) else mask
        if mask:
            yield t, mask, box or None
