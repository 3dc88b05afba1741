"""Which tracking sequences are trained on, and the options that say so."""

import logging
import math
from pathlib import Path

from ..errors import InputError
from .text_file import read_text
from .track_sampling import MODES, is_long_enough, present_frames, seen_frames

logger = logging.getLogger(__name__)

_SHARES = ("GRAY", "FLIP", "BRIGHTNESS", "POSITIVE_SHARE")
_ABOVE_0 = ("TEMPLATE_SIZE", "TEMPLATE_FACTOR", "SEARCH_SIZE", "SEARCH_FACTOR")
_FROM_0 = ("CENTER_JITTER", "SCALE_JITTER", "MIN_LENGTH")


def check_tracking(tracking):
    """tracking: the node cfg.INPUT.TRACKING. InputError for a value that no sample can be drawn with."""
    if tracking.SAMPLING not in MODES:
        raise InputError(f"INPUT.TRACKING.SAMPLING is {tracking.SAMPLING!r}; expected {', '.join(MODES)}")
    rules = [*((name, 0 <= tracking[name] <= 1, "0 to 1") for name in _SHARES),
             *((name, 0 < tracking[name] < math.inf, "a number above 0") for name in _ABOVE_0),
             *((name, 0 <= tracking[name] < math.inf, "0 or more") for name in _FROM_0),
             ("MAX_GAP", tracking.MAX_GAP >= 1, "a number of frames, 1 or more")]
    for name, right, expected in rules:
        if not right:
            raise InputError(f"INPUT.TRACKING.{name} is {tracking[name]}; expected {expected}")


def without_excluded(sequences, path, *, names):
    """-> the dataset dicts whose sequence is not named in the file `path`, a name a line ("" leaves all).

    By name, because published lists of the sequences that VOT excludes are off by one where they are used as indices.
    Names that are in none of the data sets `names` are counted in a warning; InputError if all are."""
    excluded = excluded_names(path)
    if not excluded:
        return sequences
    kept = [record for record in sequences if record["name"] not in excluded]
    strange = excluded - {record["name"] for record in sequences}
    if strange == excluded:
        numbers = all(name.isdecimal() for name in excluded)
        hint = (": its lines are numbers, and published ones are off by one here and there; write the names of these "
                "sequences instead") if numbers else "; correct it"
        raise InputError(f'INPUT.TRACKING.EXCLUDE: none of the {len(excluded)} names in {path}, such as '
                         f'{min(excluded)}, is a sequence of the training sets ({", ".join(names)}), such as '
                         f'{sequences[0]["name"]}{hint}, or set it to ""')
    logger.info("left out %d of %d sequences that %s names", len(sequences) - len(kept), len(sequences), path)
    if strange:
        logger.warning("%d of %d names in %s (INPUT.TRACKING.EXCLUDE), such as %s, are in none of the training sets "
                       "(%s)", len(strange), len(excluded), path, min(strange), ", ".join(names))
    return kept


def without_short(sequences, min_length):
    """-> the dataset dicts that show their target in enough of their frames; how many are left out is logged.
    Pictures that are missing do not count."""
    fits = [is_long_enough(seen_frames(record) & present_frames(record), min_length) for record in sequences]
    if not all(fits):
        logger.info("left out %d of %d sequences that have fewer than %d frames (INPUT.TRACKING.MIN_LENGTH), or fewer "
                    "than 7 that show their target, such as %s", fits.count(False), len(sequences), min_length,
                    sequences[fits.index(False)]["video_id"])
    return [record for record, fit in zip(sequences, fits, strict=True) if fit]


def excluded_names(path):
    """-> set of the names in the file of INPUT.TRACKING.EXCLUDE. FileNotFoundError, InputError for a file without."""
    if not path:
        return set()
    try:
        text = read_text(Path(path).expanduser(), expected="the name of a sequence on each line")
    except FileNotFoundError:
        raise FileNotFoundError(f"INPUT.TRACKING.EXCLUDE: file not found: {path}; expected a text file with the name "
                                'of a sequence on each line, or "" for none') from None
    names = {line.strip() for line in text.splitlines() if line.strip()}
    if not names:
        raise InputError(f'INPUT.TRACKING.EXCLUDE: {path} names no sequence; expected a name on each line, or ""')
    return names
