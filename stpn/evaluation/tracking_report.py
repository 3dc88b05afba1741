"""The figures of single-object tracking as text and as a file, whichever metric they are of: a score has headline,
percent(), accuracy(), plain() and frames (Score, OpeScore)."""

import json
import logging

import numpy as np
from tabulate import tabulate

from ..errors import atomic_path
from .tracking_metrics import box_overlaps, or_none

logger = logging.getLogger(__name__)


def log_scores(whole, by_name, by_group, *, dataset, tracker, rule):
    """rule: how it was counted, in words. The last line has all that is published of a tracker."""
    rows = [(name, score.frames, *score.percent().values()) for name, score in by_name.items()]
    rows += [(f"frames of {group}", score.frames, *score.accuracy().values()) for group, score in by_group.items()]
    rows.append((f"all {len(by_name)} sequences", whole.frames, *whole.percent().values()))
    head = ("sequence", "frames", *whole.percent())
    logger.info(f"{tracker} on {dataset}, {rule}:\n" + tabulate(rows, headers=head, tablefmt="pipe", floatfmt=".2f"))
    logger.info(f"{tracker} on {dataset}: {_in_a_line(whole)} ({len(by_name)} sequences, {whole.frames} frames that "
                "count)")


def log_comparison(figures, *, dataset, rule):
    """figures: {tracker: {name: value}}, in the order of the rows."""
    rows, head = [(tracker, *values.values()) for tracker, values in figures.items()], next(iter(figures.values()))
    logger.info(f"{len(rows)} trackers on {dataset}, {rule}:\n"
                + tabulate(rows, headers=("tracker", *head), tablefmt="pipe", floatfmt=".2f"))


def best_first(scores):
    """{tracker: score} -> [(tracker, score)], those without a figure last."""
    return sorted(scores.items(), key=lambda item: -np.nan_to_num(item[1].headline[1], nan=-1.0))


def frame_rates(times, measured=()):
    """times: arrays of seconds a frame, NaN or 0 where not measured; measured: pairs (frames, seconds) from reading the
    first frame of a sequence to having its last box. -> {"model_only", "end_to_end": frames / seconds, NaN where
    nothing was measured}. Unlike the toolkit's fps these two may be compared: both are frames by seconds."""
    model = np.concatenate([np.ravel(table) for table in times] or [np.empty(0)])
    model = model[model > 0]  # NaN is not
    frames, seconds = np.sum(measured, axis=0) if len(measured) else (0, 0)
    return {"model_only": float(len(model) / model.sum()) if len(model) else float("nan"),
            "end_to_end": float(frames / seconds) if seconds else float("nan")}


def log_rates(rates, *, frames, dataset):
    """frames: how many of them the end-to-end rate is of, 0 where it is not known."""
    model = f"speed on {dataset}: model only {rates['model_only']:.1f} frames/s (the tracker's own time)"
    if not frames:
        logger.info(f"{model}; result files do not tell the speed end to end, with reading")
        return
    logger.info(f"{model}; end to end {rates['end_to_end']:.1f} frames/s (with reading and decoding, over the {frames} "
                "frames tracked in this run, per process)")


def write_scores(path, scored, about):
    """scored: {tracker: (whole, by_name, by_group)}; about: what the figures are of, written before them. Figures are
    fractions, as in the toolkit's report; JSON has no NaN: one that is undefined is null."""
    trackers = {tracker: _plain(*scores) for tracker, scores in scored.items()}
    content = {**about, **(next(iter(trackers.values())) if len(trackers) == 1 else {"trackers": trackers})}
    with atomic_path(path) as part:
        part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def without_nan(numbers):
    return {name: or_none(value) for name, value in numbers.items()}


def warn_of_oddities(records, tracks, *, where):
    """Warn of what results can be without being wrong, but seldom are."""
    if all((found.boxes == np.round(found.boxes)).all() for found in tracks.values()):
        logger.warning(f"{where}: all boxes are whole numbers; cutting off their fractions lowers the figures")
    strange = [record["name"] for record in records if _start(record, tracks[record["name"]]) < 0.5]
    if strange:
        logger.warning(f"{where}: in {len(strange)} sequences such as {strange[0]} the first box is not the given one; "
                       "expected x,y,w,h in pixels of the original frame: are they corners, or of another sequence?")


def _in_a_line(score):
    return ", ".join(f"{name} {value:.2f}" for name, value in score.accuracy().items())


def _start(record, tracks):
    """-> overlap of the first box of the first repetition with the one that was given."""
    size = record["width"], record["height"]
    return box_overlaps(tracks.boxes[0, :1], record["boxes"][:1], size)[0]


def _plain(whole, by_name, by_group):
    groups = {group: _without_speed(score.plain()) for group, score in by_group.items()}
    return {"overall": whole.plain(), **({"groups": groups} if groups else {}),
            "seq_wise": {name: score.plain() for name, score in by_name.items()}}


def _without_speed(numbers):
    return {name: value for name, value in numbers.items() if name != "speed_fps"}
