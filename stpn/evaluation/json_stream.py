"""A JSON file that is one long list, read item by item in bounded memory.

The results of ImageNet VID val are up to 17 million small objects, 3 GB of text; json.load would make a dozen GB of
Python objects of them.
"""

import json
import re
from pathlib import Path

from ..errors import InputError

BLOCK = 1 << 22  # characters read at a time; an item must not be longer
_SPACE = re.compile(r"[ \t\n\r]*")
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{},]', re.DOTALL)  # or a whole string, which may hold some
_MARK = re.compile(r"[ \t\n\r]*([,\]]?)[ \t\n\r]*")


def stream_list(path, *, item="record", block=BLOCK):
    """Yield the items of the list in a JSON file (UTF-8, with or without a BOM).

    item: what messages call an item. Raises InputError with the number (from 0) of the first item that is not
    whole JSON; those before it have been yielded.
    """
    if Path(path).is_dir():
        raise InputError(f"{path} is a folder; expected a JSON file: {_in_folder(Path(path))}")
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with open(path, encoding="utf-8-sig") as handle:
        yield from stream_items(handle, path, item=item, block=block)


def stream_items(handle, name, *, item="record", block=BLOCK):
    """stream_list of an open text file; name: what messages call it."""
    try:
        yield from _items(handle, name, item, block)
    except UnicodeDecodeError:
        raise InputError(f"{name} is not text; expected a JSON list of {item}s") from None


def _in_folder(folder):
    names = sorted(file.name for file in folder.glob("*.json"))
    return f"name one in it, such as {folder / names[0]}" if names else "there is none in it, name one elsewhere"


def _items(handle, path, item, block):
    decode, number = json.JSONDecoder().raw_decode, 0
    text, more = handle.read(2 * block), True
    at = _SPACE.match(text).end()
    if not text[at:]:
        raise InputError(f"{path} is empty; expected a JSON list of {item}s: write it again")
    if text[at:at + 1] != "[":
        raise InputError(f"{path} begins with {text[at:at + 20]!r}; expected a JSON list of {item}s, [{{...}}, ...]")
    at = _SPACE.match(text, at + 1).end()
    mark = "]" if text[at:at + 1] == "]" else ","  # an empty list, or what follows the last item
    at += mark == "]"
    while mark == ",":
        if more and len(text) - at < block:  # so that a whole item always lies ahead
            more = handle.read(block)
            text, at = text[at:] + more, 0
        try:
            value, at = decode(text, at)
        except (ValueError, RecursionError) as error:
            rest = text[at:] + handle.read(block)
            if rest and isinstance(error, ValueError) and not handle.read(1) and _is_cut(rest):
                error = None
            raise _broken(path, item, number, rest, error) from None
        yield value
        found = _MARK.match(text, at)
        mark, at, number = found[1], found.end(), number + 1
    rest = _SPACE.sub("", text[at:at + 20] or handle.read(20), count=1)
    if mark != "]" or rest:
        raise _broken(path, item, number, rest, "expected , or ] after an item and nothing after the list")


def _is_cut(rest):
    """rest: all text from the beginning of an item on. Does it end before the item does?"""
    depth = 0
    for mark in _MARKS.finditer(rest):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark[0], 0)
        if depth <= 0 and mark[0][0] != '"':
            return False
    return True


def _broken(path, item, number, rest, error):
    if error is None:
        return InputError(f"{path} ends inside {item} {number}; it was cut off: write it again")
    if not rest:
        return InputError(f"{path} ends inside the list, after {number} whole {item}s; it was cut off: write it again")
    return InputError(f"{path}: {item} {number} is not JSON at {rest[:30]!r}: {getattr(error, 'msg', error)}")
