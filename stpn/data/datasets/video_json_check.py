"""What is wrong with a file of the plain video format: every fault, each with its place in the JSON.

    {"categories": [...], "videos": [...], "images": [...], "annotations": [...]}     see datasets/README.md
"""

import json
import math
from collections.abc import Callable
from typing import NamedTuple


class Problem(NamedTuple):
    """where: JSON path such as "annotations[12].bbox", "" for the file as a whole. message: got, expected.
    kind: "structure", "duplicate id", "unknown id", "unknown class", "missing picture", "unreadable picture",
    "size" or "box". fatal: the set cannot be loaded; otherwise the loader drops or clips the box, or leaves a
    missing file to the check before training or evaluation."""

    where: str
    message: str
    kind: str
    fatal: bool = True


class _Field(NamedTuple):
    accepts: Callable
    expected: str
    required: bool = True


def _whole(value, low=-(2**63), high=2**63 - 1):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_box(value):
    return isinstance(value, list) and len(value) == 4 and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)


_ID = _Field(_whole, "a whole number")
_NAME = _Field(lambda v: isinstance(v, str) and bool(v.strip()), "a text that is not empty")
_PIXELS = _Field(lambda v: _whole(v, 1, 10**6), "a whole number of pixels, at least 1", required=False)
_FLAG = _Field(lambda v: _whole(v, 0, 1), "0 or 1", required=False)
TABLES = {
    "categories": {"id": _ID, "name": _NAME},
    "videos": {"id": _ID, "file_name": _NAME, "width": _PIXELS, "height": _PIXELS,
               "length": _Field(lambda v: _whole(v, 1), "a whole number of frames, at least 1", required=False)},
    "images": {"id": _ID, "video_id": _ID,
               "frame_index": _Field(lambda v: _whole(v, 0), "a whole number, 0 for the video's first frame"),
               "file_name": _NAME._replace(required=False), "width": _PIXELS, "height": _PIXELS},
    "annotations": {"id": _ID, "image_id": _ID, "category_id": _ID,
                    "bbox": _Field(_is_box, "[x, y, width, height], four numbers in pixels"),
                    "track_id": _ID._replace(required=False), "iscrowd": _FLAG, "occluded": _FLAG,
                    "generated": _FLAG},
}


def read_content(path):
    """-> (what the JSON file says, []), or (None, [the Problem]) when it is not JSON in UTF-8."""
    try:
        with open(path, "rb") as handle:
            return json.loads(handle.read().decode("utf-8-sig")), []
    except FileNotFoundError:
        return None, [Problem("", "no such file", "structure")]
    except IsADirectoryError:
        return None, [Problem("", "is a folder; expected a JSON file", "structure")]
    except UnicodeDecodeError as error:
        text = f"is not text in UTF-8 (byte {error.start}); expected JSON, save it as UTF-8"
    except json.JSONDecodeError as error:
        text = f"is not JSON: {error.msg} in line {error.lineno}, column {error.colno}"
    except (RecursionError, ValueError) as error:  # nested without end; a number of thousands of digits
        text = f"is not JSON that can be read: {error}"
    return None, [Problem("", text, "structure")]


def check_tables(content):
    """-> Problems of the content by itself: keys, types, ids, references. Videos are not looked at."""
    if not isinstance(content, dict):
        return [Problem("", f"holds {_shown(content)}; expected an object with {', '.join(TABLES)}", "structure")]
    problems = [problem for table, fields in TABLES.items() for problem in _check_table(content, table, fields)]
    # Ids can be compared only once all of them are numbers.
    return problems or [*_check_ids(content), *_check_references(content), *_check_frames(content)]


def _check_table(content, table, fields):
    rows = content.get(table)
    if not isinstance(rows, list):
        got = _shown(rows) if table in content else "missing"
        yield Problem(table, f"is {got}; expected a list of objects", "structure")
        return
    if not rows and table != "annotations":
        yield Problem(table, "is empty; expected at least one", "structure")
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            yield Problem(f"{table}[{i}]", f"is {_shown(row)}; expected an object with "
                          f"{', '.join(name for name in fields if fields[name].required)}", "structure")
            continue
        for name, field in fields.items():
            if name not in row:
                if field.required:
                    yield Problem(f"{table}[{i}].{name}", f"is missing; expected {field.expected}", "structure")
            elif not field.accepts(row[name]):
                yield Problem(f"{table}[{i}].{name}", f"is {_shown(row[name])}; expected {field.expected}", "structure")


def _check_ids(content):
    for table in TABLES:
        yield from _repeats(table, "id", content[table], lambda row: row["id"])
    yield from _repeats("categories", "name", content["categories"], lambda row: row["name"])
    yield from _repeats("videos", "file_name", content["videos"], lambda row: row["file_name"])
    yield from _repeats("images", "frame_index", content["images"],
                        lambda row: (row["video_id"], row["frame_index"]))


def _repeats(table, name, rows, key):
    first = {}
    for i, row in enumerate(rows):
        other = first.setdefault(key(row), i)
        if other != i:
            of = f" of video {row['video_id']}" if name == "frame_index" else ""
            yield Problem(f"{table}[{i}].{name}", f"{_shown(row[name])}{of} is that of {table}[{other}] already; "
                          "each must have its own", "duplicate id")


def _check_references(content):
    for table, name, target in (("images", "video_id", "videos"), ("annotations", "image_id", "images"),
                                ("annotations", "category_id", "categories")):
        known = [row["id"] for row in content[target]]
        ids = set(known)
        some = ", ".join(map(str, known[:10])) + (", ..." if len(known) > 10 else "")
        for i, row in enumerate(content[table]):
            if row[name] not in ids:
                yield Problem(f"{table}[{i}].{name}", f"{row[name]} is not the id of any of the {target} ({some})",
                              "unknown class" if target == "categories" else "unknown id")


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


def _shown(value, limit=60):
    """A value as JSON, cut to one short line; large containers by their kind."""
    if isinstance(value, (list, dict)) and len(value) > 8:
        return f"a list of {len(value)}" if isinstance(value, list) else f"an object of {len(value)} keys"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else f"{text[:limit]}..."
