"""Annotation files in JSON as tables, lists of objects: reading, and every fault with its place in the JSON."""

import json
import shlex
from collections.abc import Callable
from typing import NamedTuple

from ...errors import InputError


class Problem(NamedTuple):
    """where: JSON path such as "annotations[12].bbox", "" for the file as a whole. message: got, expected.
    kind: "structure", "duplicate id", "unknown id", "unknown class", "missing picture", "unreadable picture",
    "size", "box", "polygon" or "track unseen". fatal: the set cannot be loaded; otherwise the loader drops or clips the
    box, drops the polygon or track, or leaves a missing file to the check before training or evaluation."""

    where: str
    message: str
    kind: str
    fatal: bool = True


class Field(NamedTuple):
    accepts: Callable
    expected: str
    required: bool = True


def is_whole(value, low=-(2**63), high=2**63 - 1):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_box(value):
    return isinstance(value, list) and len(value) == 4 and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)


ID = Field(is_whole, "a whole number")
NAME = Field(lambda v: isinstance(v, str) and bool(v.strip()), "a text that is not empty")
PIXELS = Field(lambda v: is_whole(v, 1, 10**6), "a whole number of pixels, at least 1", required=False)
FLAG = Field(lambda v: is_whole(v, 0, 1), "0 or 1", required=False)


def read_content(path, *, object_hook=None):
    """-> (what the JSON file says, []), or (None, [the Problem]) when it is not JSON in UTF-8.

    object_hook: as in json.loads, called with each object, for what would be too large as it stands in the file."""
    try:
        with open(path, "rb") as handle:
            content = handle.read().decode("utf-8-sig")
        return json.loads(content, object_hook=object_hook), []
    except FileNotFoundError:
        return None, [Problem("", "does not exist", "structure")]
    except IsADirectoryError:
        return None, [Problem("", "is a folder; expected a JSON file", "structure")]
    except UnicodeDecodeError as error:
        text = f"is not text in UTF-8 (byte {error.start}); expected JSON, save it as UTF-8"
    except json.JSONDecodeError as error:
        text = f"is not JSON: {error.msg} in line {error.lineno}, column {error.colno}{_cut_off(content, error)}"
    except (RecursionError, ValueError) as error:  # nested without end; a number of thousands of digits
        text = f"is not JSON that can be read: {error}"
    return None, [Problem("", text, "structure")]


def _cut_off(text, error):
    """-> advice where the fault that the reader found is that the text ends too early."""
    end = text.rstrip()
    begun = text.lstrip()[:1] in ("{", "[")
    if begun and (error.pos >= len(end) or end[-1] not in "]}" or error.msg.startswith("Unterminated")):
        return "; the file may be cut off: write it again"
    return ""


def check_table(content, table, fields):
    """Yield the Problems of one table: content[table] must be a list of objects with these {key: Field}."""
    rows = content.get(table)
    if not isinstance(rows, list):
        got = shown(rows) if table in content else "missing"
        yield Problem(table, f"is {got}; expected a list of objects", "structure")
        return
    if not rows and table != "annotations":
        yield Problem(table, "is empty; expected at least one", "structure")
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            yield Problem(f"{table}[{i}]", f"is {shown(row)}; expected an object with "
                          f"{', '.join(name for name in fields if fields[name].required)}", "structure")
            continue
        for name, field in fields.items():
            if name not in row:
                if field.required:
                    yield Problem(f"{table}[{i}].{name}", f"is missing; expected {field.expected}", "structure")
            elif not field.accepts(row[name]):
                yield Problem(f"{table}[{i}].{name}", f"is {shown(row[name])}; expected {field.expected}", "structure")


def repeats(table, name, rows, key):
    """Yield a Problem, at the row's `name`, for each row whose key(row) an earlier one has."""
    first = {}
    for i, row in enumerate(rows):
        other = first.setdefault(key(row), i)
        if other != i:
            of = f" of video {row['video_id']}" if name == "frame_index" else ""
            yield Problem(f"{table}[{i}].{name}", f"{shown(row[name])}{of} is that of {table}[{other}] already; "
                          "each must have its own", "duplicate id")


def check_references(content, table, name, target):
    """Yield a Problem for each row of the table whose `name` is not the id of a row of the target table."""
    known = [row["id"] for row in content[target]]
    ids = set(known)
    some = ", ".join(map(str, known[:10])) + (", ..." if len(known) > 10 else "")
    for i, row in enumerate(content[table]):
        if row[name] not in ids:
            yield Problem(f"{table}[{i}].{name}", f"{row[name]} is not the id of any of the {target} ({some})",
                          "unknown class" if target == "categories" else "unknown id")


def refuse_fatal(path, problems, name=None):
    """InputError with the first of the Problems that are fatal. name: of the data set, for the advice."""
    fatal = [problem for problem in problems if problem.fatal]
    if fatal:
        raise InputError(f"{first_of(path, fatal)}; "
                         f"list all with datasets/check.py {shlex.quote(name) if name else 'NAME'}")


def first_of(path, problems):
    first = problems[0]
    more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{path}{problem_text(first)}{more}"


def problem_text(problem):
    """-> what follows the file's path: the place and the message, for the file as a whole the message alone."""
    return f": {problem.where} {problem.message}" if problem.where else f" {problem.message}"


def shown(value, limit=60):
    """A value as JSON, cut to one short line; large containers by their kind."""
    if isinstance(value, (list, dict)) and len(value) > 8:
        return f"a list of {len(value)}" if isinstance(value, list) else f"an object of {len(value)} keys"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= limit else f"{text[:limit]}..."
