"""Which frames of a tracking sequence make a training sample: template, online template, search. No pictures.

As MixFormer's published code draws them, in its order of draws: "causal" (both templates before the search frame),
"trident" and "trident_pro" (template and search frame anywhere, the online template near the search frame and on the
template's side of it; in "trident_pro" it need not show the target).
"""

import numpy as np

from ..errors import InputError

MODES = ("causal", "trident", "trident_pro")
_WIDER = 5  # frames by which the gap of "causal" grows with each draw in vain
_DRAWS = 1000
_LEAST_SEEN = 2 * (1 + 2)  # for one search frame and two templates, as published


def seen_frames(record):
    """record: dict of a sequence (load_got10k). -> (T,) bool: the target is there, some of it is seen, its box has an
    area."""
    seen = ~record["absent"] & (record["boxes"][:, 2:] > 0).all(axis=1)
    return seen if record["cover"] is None else seen & (record["cover"] > 0)


def label_box(record, t):
    """-> (4,) float64 XYWH of frame t; where that does not show the target, of the last frame that does (the first, if
    none does before)."""
    seen = np.flatnonzero(seen_frames(record))
    before = np.searchsorted(seen, t, side="right") - 1
    return record["boxes"][seen[max(before, 0)]]


def present_frames(record):
    """-> (T,) bool: frames whose pictures are there."""
    present = np.ones(record["video_length"], dtype=bool)
    present[list(record.get("missing_frames", ()))] = False
    return present


def is_long_enough(seen, min_length):
    """Whether a sequence can be trained on. seen: (T,) bool."""
    return len(seen) >= min_length and int(seen.sum()) > _LEAST_SEEN


def draw_frames(seen, *, mode, max_gap, rng, present=None):
    """-> (template, online template, search), frame indices; InputError where many draws find none.

    seen: T truth values; present: T of frames whose pictures are there, None: all. max_gap: frames between a template
    and the search frame; "causal" goes further where it finds nothing. rng: random.Random, not numpy's: the draws equal
    recorded ones of the published code."""
    online = seen if mode != "trident_pro" else [True] * len(seen) if present is None else present
    for attempt in range(_DRAWS):
        found = (_causal(seen, max_gap + _WIDER * attempt, rng) if mode == "causal" else
                 _trident(seen, max_gap, rng, online=online))
        if found is not None:
            return found
    raise InputError(f"{sum(map(bool, seen))} of {len(seen)} frames show the target: no two templates and search frame "
                     f"for INPUT.TRACKING.SAMPLING {mode} and MAX_GAP {max_gap}; raise MAX_GAP, or leave the sequence "
                     "out (INPUT.TRACKING.EXCLUDE)")


def one_of(allowed, rng, *, first=0, end=None):
    """-> an index in first..end - 1 whose `allowed` is true, None when there is none."""
    end = len(allowed) if end is None else min(end, len(allowed))
    candidates = [i for i in range(max(0, first), end) if allowed[i]]
    return rng.choices(candidates)[0] if candidates else None


def _causal(seen, gap, rng):
    template = one_of(seen, rng, first=1, end=len(seen) - 1)
    online = None if template is None else one_of(seen, rng, first=template - gap, end=template)
    search = None if online is None else one_of(seen, rng, first=template + 1, end=template + gap)
    return None if search is None else (template, online, search)


def _trident(seen, gap, rng, *, online):
    template, search = one_of(seen, rng), one_of(seen, rng)
    if template is None:
        return None
    first = search if template >= search else search - gap
    near = one_of(online, rng, first=first, end=first + gap)
    return None if near is None else (template, near, search)
