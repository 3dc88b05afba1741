"""Looking for a key in a JSON file of hundreds of megabytes without reading all of it."""

import contextlib
import json
import mmap
import os

_AT_ONCE = 2**20  # bytes tried first for a value
_SPACE = b" \t\r\n"


@contextlib.contextmanager
def open_text(path):
    """Yield the file's bytes, mapped; b"" for an empty file."""
    with open(path, "rb") as handle:
        if not os.fstat(handle.fileno()).st_size:
            yield b""
            return
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as text:
            yield text


def find_value(text, key, *, start=0):
    """text: of open_text(). -> position where the value of the first key so named from `start` on begins, at any depth;
    -1 without."""
    quoted = b'"%s"' % key.encode()
    while (found := text.find(quoted, start)) >= 0:
        start = _after_space(text, found + len(quoted))
        # A text that quotes the key has a backslash before its quotes.
        if text[start:start + 1] == b":" and text[found - 1:found] != b"\\":
            return _after_space(text, start + 1)
    return -1


def read_value(text, key):
    """-> the value of the first key so named. ValueError where there is none, or no JSON."""
    start = find_value(text, key)
    if start < 0:
        raise ValueError(f"no key {key}")
    try:
        return _decode(text[start:start + _AT_ONCE].decode("utf-8", "ignore"))
    except ValueError:
        return _decode(text[start:].decode("utf-8"))


def _decode(text):
    return json.JSONDecoder().raw_decode(text)[0]


def _after_space(text, start):
    while text[start:start + 1] and text[start:start + 1] in _SPACE:
        start += 1
    return start
