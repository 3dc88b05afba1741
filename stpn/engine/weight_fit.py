"""Whether a file's weights are enough for what they are loaded for, by the report of what fits."""

import re

# Parts within parts: a plain detector has no SELSA, and starting from it is ordinary.
_OWN_PARTS = ("roi_heads.box_head.aggregators",)
# Classifiers have no normalisation of the four outputs: these start fresh with a bare encoder.
_OUTPUT_NORM = re.compile(r"(backbone\.)?norm\d+\.")
_SCORE_HEAD = "score_branch"  # a tracker's, of which its first stage has none
# Mask2Former's head starts from another data set's but for its classes; all else must be of the same head, or
# a training would quietly start with random queries or layers.
_HEAD, _CLASSES = "sem_seg_head.", "sem_seg_head.predictor.class_embed."

# The one place with this option; the others that load weights end where they do not fit.
_ANYWAY = "train_net.py --eval-only --allow-partial"
# Why a file is refused, with the way out; the first that is true counts (see fit_problem).
_TEXTS = {
    "no backbone": "nothing in it fits the backbone; check MODEL.WEIGHTS and the config file",
    "other shapes": "it was made for another architecture or number of classes; check MODEL.WEIGHTS and the config "
                    f"file; {_ANYWAY} leaves those tensors at random",
    "missing": "{missing} of the model's tensors are not in it; check MODEL.WEIGHTS and the config file; "
               f"{_ANYWAY} leaves them at random",
    "no score head": f"there is no score head in it ({_SCORE_HEAD}.*): it is of a tracker's first stage, and with a "
                     "random one the tracker would take its templates anywhere; take the config file of the first "
                     "stage, or train the second one (..._score.yaml) from it",
    "fresh parts": "it has nothing for {fresh}: enough to start training from, not to evaluate or use; "
                   f"{_ANYWAY} takes it all the same",
    "frozen": "{count} tensors that this training keeps frozen are not in it and would stay random ({frozen}); take "
              "weights that have them (for a tracker's second stage, the end of its own first one)",
    "other mask head": "its mask head is another one ({other}); set MODEL.MASK_FORMER.* and MODEL.SEM_SEG_HEAD.* as it "
                       "was trained",
    "too few": "only {share:.0%} of the model's tensors are in it, {min_match:.0%} are needed; check MODEL.WEIGHTS and "
               "the config file",
}


def fit_problem(report, *, scope, allow_partial, min_match, frozen):
    """Why the file is refused, with the way out; None if it is good enough. report: LoadReport; the others: see
    load_weights; frozen: names of parameters that no training of this model changes."""
    if not report.matched:
        return "no tensor has a name and shape of the model; check MODEL.WEIGHTS and the config file"
    if allow_partial:
        return None
    whole, share = scope == "model", _share(report, scope)
    stuck = sorted({*report.missing, *(name for name, _, _ in report.mismatched)} & set(frozen))
    other = _other_head(report) if scope == "parts" else []
    wrong = {
        "no backbone": not whole and "backbone" in report.fresh, "other shapes": whole and report.mismatched,
        "missing": whole and report.missing and not report.fresh,
        "no score head": whole and report.fresh == [_SCORE_HEAD], "fresh parts": whole and report.fresh,
        "frozen": stuck, "other mask head": other, "too few": share < min_match,
    }  # fmt: skip
    facts = {"missing": len(report.missing), "fresh": ", ".join(report.fresh), "count": len(stuck),
             "frozen": few(stuck, 2), "other": few(other, 2), "share": share, "min_match": min_match}
    return next((text.format(**facts) for kind, text in _TEXTS.items() if wrong[kind]), None)


def part_of(name):
    """-> the part of the model that a tensor belongs to: backbone, neck, prompt_predictor, ..."""
    return next((part for part in _OWN_PARTS if name.startswith(f"{part}.")), name.split(".")[0])


def few(names, number=5):
    more = f" and {len(names) - number} more" if len(names) > number else ""
    return ", ".join(names[:number]) + more


def _share(report, scope):
    """-> 0..1, of the wanted tensors that match; parts that may start fresh are not wanted."""
    left_out = set(report.fresh) if scope == "parts" else set()
    if scope == "backbone":
        left_out = {part_of(name) for name in report.missing} - {"backbone"}
    wanted = [name for name in (*report.missing, *(name for name, _, _ in report.mismatched))
              if part_of(name) not in left_out]
    if scope != "model" and not any(_OUTPUT_NORM.match(name) for name in report.matched):
        wanted = [name for name in wanted if not _OUTPUT_NORM.match(name)]
    return len(report.matched) / (len(report.matched) + len(wanted))


def _other_head(report):
    """What keeps a mask head from being the model's own with other classes; [] if it is, or if there is none."""
    if part_of(_HEAD) in report.fresh:
        return []
    other = [f"{name} {list(theirs)} for {list(ours)}" for name, theirs, ours in report.mismatched]
    names = (*other, *report.missing, *report.unexpected)
    return [name for name in names if name.startswith(_HEAD) and not name.startswith(_CLASSES)]
