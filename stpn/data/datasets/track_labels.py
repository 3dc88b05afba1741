"""The label files of a tracking sequence: a box or a flag on the line of each frame."""

import numpy as np

from ...errors import InputError
from .number_lines import read_lines, refuse


def read_boxes(path):
    """-> (N, 4) float64 XYWH; a line is finite, or NaN as a whole. InputError with file and line."""
    boxes = read_lines(path, columns=4, expected="lines x,y,w,h in pixels, one for each frame")
    sound = np.isfinite(boxes).all(1) | np.isnan(boxes).all(1)
    refuse(path, [(row + 1, "has numbers that are not finite; expected four finite ones, or four NaN where the target "
                   "is absent") for row in np.flatnonzero(~sound)])
    return boxes


def read_flags(path, *, high, length, one_line=False):
    """-> (length,) int64 in 0..high, None when there is no such file. one_line: all may stand on one line. InputError
    with file and line."""
    if not path.is_file():
        return None
    expected = f"a whole number in 0..{high} for each frame"
    flags = read_lines(path, columns=None if one_line else 1, expected=expected)
    if len(flags) > 1:
        refuse(path, [(1, f"has {flags.shape[1]} columns; expected 1")] if flags.shape[1] > 1 else [])
    flags = flags.ravel()
    refuse(path, [(row + 1, f"is {flags[row]:g}; expected a whole number in 0..{high}")
                  for row in np.flatnonzero(~np.isin(flags, np.arange(high + 1)))])
    refuse_length(path, len(flags), length, f"groundtruth.txt has {length} lines")
    return flags.astype(np.int64)


def refuse_length(path, lines, expected, reason, *, pictures=False):
    """InputError where a file has not as many lines as expected. pictures: it is pictures that are counted, of which
    the last may be missing."""
    if lines < expected:
        raise InputError(f"{path}:{lines}: the file ends with this line; expected {expected} lines, as {reason}")
    if lines > expected:
        one = lines == expected + 1
        many = f"is one line too many of {lines}" if one else f"here begin {lines - expected} lines too many"
        missing = f", or the last {'picture is' if one else 'pictures are'} missing" if pictures else ""
        raise InputError(f"{path}:{expected + 1}: {many}{missing}; expected {expected}, as {reason}")
