"""What is wrong with a file of the plain video format: every fault, each with its place in the JSON.

    {"categories": [...], "videos": [...], "images": [...], "annotations": [...]}     see datasets/README.md
"""

import math

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
    read_content,
    repeats,
    shown,
)

__all__ = ["TABLES", "Problem", "check_tables", "read_content"]

TABLES = {
    "categories": {"id": ID, "name": NAME},
    "videos": {"id": ID, "file_name": NAME, "width": PIXELS, "height": PIXELS,
               "length": Field(lambda v: is_whole(v, 1), "a whole number of frames, at least 1", required=False)},
    "images": {"id": ID, "video_id": ID,
               "frame_index": Field(lambda v: is_whole(v, 0), "a whole number, 0 for the video's first frame"),
               "file_name": NAME._replace(required=False), "width": PIXELS, "height": PIXELS},
    "annotations": {"id": ID, "image_id": ID, "category_id": ID,
                    "bbox": Field(is_box, "[x, y, width, height], four numbers in pixels"),
                    "track_id": ID._replace(required=False), "iscrowd": FLAG, "occluded": FLAG,
                    "generated": FLAG},
}


def check_tables(content):
    """-> Problems of the content by itself: keys, types, ids, references. Videos are not looked at."""
    if not isinstance(content, dict):
        return [Problem("", f"holds {shown(content)}; expected an object with {', '.join(TABLES)}", "structure")]
    problems = [problem for table, fields in TABLES.items() for problem in check_table(content, table, fields)]
    # Ids can be compared only once all of them are numbers.
    return problems or [*_check_ids(content), *_check_references(content), *_check_frames(content)]


def _check_ids(content):
    for table in TABLES:
        yield from repeats(table, "id", content[table], lambda row: row["id"])
    yield from repeats("categories", "name", content["categories"], lambda row: row["name"])
    yield from repeats("videos", "file_name", content["videos"], lambda row: row["file_name"])
    yield from repeats("images", "frame_index", content["images"],
                       lambda row: (row["video_id"], row["frame_index"]))


def _check_references(content):
    for reference in (("images", "video_id", "videos"), ("annotations", "image_id", "images"),
                      ("annotations", "category_id", "categories")):
        yield from check_references(content, *reference)


def _check_frames(content):
    """What an image says of its video must fit the video's own entry."""
    videos = {row["id"]: row for row in content["videos"]}
    for i, row in enumerate(content["images"]):
        video = videos.get(row["video_id"], {})
        for side in ("width", "height"):
            if side in row and side in video and row[side] != video[side]:
                yield Problem(f"images[{i}].{side}", f"is {row[side]}, but video {video['id']} has {side} "
                              f"{video[side]}; correct one of them, or leave out the video's", "size")
        length = video.get("length", math.inf)
        if row["frame_index"] >= length:
            yield Problem(f"images[{i}].frame_index", f"is {row['frame_index']}, but video {video['id']} has length "
                          f"{length}: its frames are 0..{length - 1}", "unknown id")
