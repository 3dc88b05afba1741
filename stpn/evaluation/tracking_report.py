"""The figures of single-object tracking as text and as a file."""

import json
import logging
import math

import numpy as np
from tabulate import tabulate

from ..errors import atomic_path
from .tracking_metrics import box_overlaps

logger = logging.getLogger(__name__)

_HEAD = ("AO", "SR0.5", "SR0.75", "fps")


def in_percent(score):
    """-> {"AO", "SR0.5", "SR0.75": percent, "fps": frames a second}."""
    return dict(zip(_HEAD, (100 * score.ao, 100 * score.sr50, 100 * score.sr75, score.fps)))


def log_scores(whole, by_name, *, dataset, tracker):
    rows = [(name, score.frames, *in_percent(score).values()) for name, score in by_name.items()]
    rows.append((f"all {len(rows)} sequences", whole.frames, *in_percent(whole).values()))
    logger.info(f"{tracker} on {dataset}, as the GOT-10k toolkit counts (AO, SR in percent; fps: mean of the frames' "
                "rates):\n" + tabulate(rows, headers=("sequence", "frames", *_HEAD), tablefmt="pipe", floatfmt=".2f"))


def write_scores(path, whole, by_name, about):
    """about: what the figures are of, written before them. Figures are fractions, as in the toolkit's report; JSON has
    no NaN: one that is undefined is null."""
    content = {**about, "overall": _plain(whole), "seq_wise": {name: _plain(score) for name, score in by_name.items()}}
    with atomic_path(path) as part:
        part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def warn_of_oddities(records, tracks, *, where):
    """Warn of what results can be without being wrong, but seldom are."""
    unseen = [record["name"] for record in records if record["cover"] is None]
    if unseen:
        logger.warning(f"{len(unseen)} sequences such as {unseen[0]} have no cover.label: all their frames count but "
                       "those that absence.label takes out")
    if all((found.boxes == np.round(found.boxes)).all() for found in tracks.values()):
        logger.warning(f"{where}: all boxes are whole numbers; cutting off their fractions lowers AO")
    strange = [record["name"] for record in records if _start(record, tracks[record["name"]]) < 0.5]
    if strange:
        logger.warning(f"{where}: in {len(strange)} sequences such as {strange[0]} the first box is not the given one; "
                       "expected x,y,w,h in pixels of the original frame: are they corners, or of another sequence?")


def _start(record, tracks):
    """-> overlap of the first box of the first repetition with the one that was given."""
    size = record["width"], record["height"]
    return box_overlaps(tracks.boxes[0, :1], record["boxes"][:1], size)[0]


def _plain(score):
    numbers = {"ao": score.ao, "sr_0.50": score.sr50, "sr_0.75": score.sr75, "speed_fps": score.fps}
    curve = [_or_null(value) for value in score.curve.tolist()]
    return {**{key: _or_null(value) for key, value in numbers.items()}, "frames": score.frames, "succ_curve": curve}


def _or_null(value):
    return None if math.isnan(value) else value
