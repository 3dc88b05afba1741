"""Text files with a line of numbers for each frame: boxes, flags, times. Every fault is told with its line."""

import re

import numpy as np

from ...errors import InputError
from ..text_file import read_text

_LOOSE = re.compile(r"[\s,]+")


def parse_lines(text, *, columns, commas_only=False):
    """-> ((N, columns) float64, []), or (None, [(line from 1, what is wrong with it)]).

    columns: numbers in a line, None: as many as in the first. Commas, tabs and spaces separate them; with commas_only
    commas alone. NaN and infinity are numbers. Empty lines at the end are no lines; elsewhere they are faults, because
    what follows would belong to other frames."""
    lines = text.rstrip().splitlines()
    rows = [line.split(",") if commas_only else _LOOSE.split(line.strip(" \t,")) for line in lines]
    columns = columns or (len(rows[0]) if rows else 1)
    if all(len(row) == columns for row in rows):
        try:
            return np.array(rows, dtype=np.float64).reshape(-1, columns), []
        except ValueError:
            pass  # some field is no number: the slow way finds which
    found = ((line, _fault(lines[line - 1], row, columns, commas_only)) for line, row in enumerate(rows, 1))
    return None, [(line, fault) for line, fault in found if fault]


def told(where, faults):
    """faults: [(line, message)] -> list of "where:line: message"; one that several lines share comes once, with their
    number."""
    lines = {}
    for line, message in faults:
        lines.setdefault(message, []).append(line)
    return [f"{where}:{first}: {message}{_also(others)}" for message, (first, *others) in lines.items()]


def refuse(where, faults):
    """InputError with the first of the faults of a file."""
    if faults:
        first, *others = told(where, faults)
        raise InputError(first + (f"; {len(others)} more faults in this file" if others else ""))


def read_lines(path, *, columns, expected):
    """-> (N, columns) float64 of a label file. expected: what it should be, for messages. FileNotFoundError, and
    InputError with file and line."""
    try:
        text = read_text(path, expected=expected)
    except FileNotFoundError:
        raise FileNotFoundError(f"label file not found: {path}; expected {expected}") from None
    rows, faults = parse_lines(text, columns=columns)
    refuse(path, faults)
    if not len(rows):
        raise InputError(f"{path}:1: is empty; expected {expected}")
    return rows


def _also(others):
    return f" (and in {len(others)} more lines, the last is {others[-1]})" if others else ""


def _fault(line, row, columns, commas_only):
    if not line.strip():
        return "is empty; expected the numbers of a frame: take it out, or put them in"
    if len(row) != columns:
        advice = ", separated by commas" if commas_only else ""
        return f"has {len(row)} columns; expected {columns}{advice}"
    wrong = next((field for field in row if not _is_number(field)), None)
    return None if wrong is None else f"holds {wrong.strip()[:40]!r}; expected a number"


def _is_number(field):
    try:
        float(field)
    except ValueError:
        return False
    return True
