"""load_weights: put a checkpoint of any known style into a model, or refuse it with counts."""

import logging
import re
from dataclasses import dataclass, field

import torch

from ..errors import InputError
from .checkpoint_file import RECOMPUTED, check_finite, read_checkpoint
from .weight_names import choose_weights, to_model_names

logger = logging.getLogger(__name__)

# Class weights of the mask losses: published files hold them, ours follow from the config and never from a file.
_FROM_CONFIG = "criterion.empty_weight"
# Set by the config or by counting, so a checkpoint without them is whole.
_NOT_WEIGHTS = (*RECOMPUTED, "pixel_mean", "pixel_std", "num_batches_tracked", "cell_anchors", _FROM_CONFIG)
# Parts within parts: a plain detector has no SELSA, and starting from it is ordinary.
_OWN_PARTS = ("roi_heads.box_head.aggregators",)
# Classifiers have no normalisation of the four outputs: these start fresh with a bare encoder.
_OUTPUT_NORM = re.compile(r"(backbone\.)?norm\d+\.")
# Mask2Former's head starts from another data set's but for its classes; all else must be of the same head, or
# a training would quietly start with random queries or layers.
_SCORE_HEAD = "score_branch"  # a tracker's, of which its first stage has none
_HEAD, _CLASSES = "sem_seg_head.", "sem_seg_head.predictor.class_embed."


@dataclass
class LoadReport:
    """What load_weights did. Lists hold names in the model (unexpected: names in the file)."""

    source: str
    matched: list = field(default_factory=list)
    missing: list = field(default_factory=list)  # in the model, not in the file
    unexpected: list = field(default_factory=list)  # in the file, not in the model
    mismatched: list = field(default_factory=list)  # (name, shape in the file, shape in the model)
    fresh: list = field(default_factory=list)  # parts of the model of which the file has nothing

    def counts(self):
        return (
            f"{len(self.matched)} matched, {len(self.missing)} missing, "
            f"{len(self.unexpected)} unexpected, {len(self.mismatched)} of another shape"
        )

    def details(self):
        """Some names of each kind, for the message of an error or a warning; "" if all matched."""
        shapes = [f"{name} {list(theirs)} for {list(ours)}" for name, theirs, ours in self.mismatched]
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "shape": shapes}
        return "; ".join(f"{kind}: {_few(names)}" for kind, names in kinds.items() if names)


def load_weights(model, source, *, scope="model", allow_partial=False, min_match=0.9, name=None):
    """Load the weights in a file, or in a dict as read_checkpoint returns it, into model, in place.

    scope: "model": all of the model must be in the file (to evaluate or use it);
        "parts": to start training from: a part of the model (backbone, neck, prompt_predictor, ...) of which
        the file has nothing starts fresh, the backbone and what is frozen must be there; of a mask head all but the
        classes must fit;
        "backbone": only the backbone is loaded and asked for.
    min_match: share of the wanted tensors that must match by name and shape; "model" refuses any missing one
        and any of another shape. allow_partial accepts any share above zero, and fresh parts.
    name: what messages call the source, if it is a dict.
    Names of other projects are translated (weight_names.py); other types of number are converted.
    Returns a LoadReport. Raises InputError, and leaves the model as it was, if the file does not fit.
    """
    model = getattr(model, "module", model)
    name = name or ("the given weights" if isinstance(source, dict) else str(source))
    checkpoint = source if isinstance(source, dict) else read_checkpoint(source)
    try:
        weights, container = choose_weights(checkpoint)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    check_finite(weights, name)
    targets = model.state_dict()
    weights = to_model_names(weights, targets)
    if scope == "backbone":
        weights = {key: value for key, value in weights.items() if _part(key) == "backbone"}
    report = compare(weights, targets, source=f"{name}[{container}]" if container else name)
    frozen = [key for key, parameter in model.named_parameters() if not parameter.requires_grad]
    problem = _problem(report, scope=scope, allow_partial=allow_partial, min_match=min_match, frozen=frozen)
    if problem:
        raise InputError(f"{name} does not fit this model: {problem} ({report.counts()}); {report.details()}")
    put(model, weights, report.matched)
    _log(report)
    return report


def compare(weights, targets, *, source):
    """Two {name: tensor} -> LoadReport. Buffers that are no weights count only when the file has them."""
    report = LoadReport(source)
    for name, target in targets.items():
        if name.endswith(_FROM_CONFIG):
            continue
        if name not in weights:
            if not name.endswith(_NOT_WEIGHTS):
                report.missing.append(name)
        elif weights[name].shape != target.shape:
            report.mismatched.append((name, tuple(weights[name].shape), tuple(target.shape)))
        else:
            report.matched.append(name)
    report.unexpected = [name for name in weights if name not in targets and not name.endswith(_NOT_WEIGHTS)]
    found = {_part(name) for name in report.matched}
    wanted = report.missing + [name for name, _, _ in report.mismatched]
    report.fresh = sorted({_part(name) for name in wanted} - found)
    return report


def put(model, weights, names):
    """Copy the named tensors into model; the model's own type and device stay."""
    with torch.no_grad():
        model.load_state_dict({name: weights[name] for name in names}, strict=False)


def _part(name):
    return next((part for part in _OWN_PARTS if name.startswith(f"{part}.")), name.split(".")[0])


def _problem(report, *, scope, allow_partial, min_match, frozen):
    """Why the file is refused, with the way out; None if it is good enough. frozen: parameters that no training of
    this model changes."""
    if not report.matched:
        return "no tensor has a name and shape of the model; check MODEL.WEIGHTS and the config file"
    if allow_partial:
        return None
    if scope != "model" and "backbone" in report.fresh:
        return "nothing in it fits the backbone; check MODEL.WEIGHTS and the config file"
    if scope == "model" and report.mismatched:
        return (
            "it was made for another architecture or number of classes; check MODEL.WEIGHTS and the config "
            "file, or leave those tensors at random with --allow-partial"
        )
    if scope == "model" and report.missing and not report.fresh:
        return (
            f"{len(report.missing)} of the model's tensors are not in it; check MODEL.WEIGHTS and the config file, "
            "or leave them at random with --allow-partial"
        )
    if scope == "model" and report.fresh == [_SCORE_HEAD]:
        return (
            f"there is no score head in it ({_SCORE_HEAD}.*): it is of a tracker's first stage, and with a random one "
            "the tracker would take its templates anywhere; take the config file of the first stage, or train the "
            "second one (..._score.yaml) from it"
        )
    if scope == "model" and report.fresh:
        return (
            f"it has nothing for {', '.join(report.fresh)}: enough to start training from, "
            "not to evaluate or use; --allow-partial takes it all the same"
        )
    stuck = sorted({*report.missing, *(name for name, _, _ in report.mismatched)} & set(frozen))
    if stuck:
        return (
            f"{len(stuck)} tensors that this training keeps frozen are not in it and would stay random "
            f"({_few(stuck, 2)}); take weights that have them (for a tracker's second stage, the end of its own first "
            "one), or leave them at random with --allow-partial"
        )
    other = _other_head(report) if scope == "parts" else []
    if other:
        return (
            f"its mask head is another one ({_few(other, 2)}); set MODEL.MASK_FORMER.* and MODEL.SEM_SEG_HEAD.* as it "
            "was trained, or start those tensors at random with --allow-partial"
        )
    left_out = set(report.fresh) if scope == "parts" else set()
    if scope == "backbone":
        left_out = {_part(name) for name in report.missing} - {"backbone"}
    wanted = [name for name in report.missing if _part(name) not in left_out]
    wanted += [name for name, _, _ in report.mismatched if _part(name) not in left_out]
    if scope != "model" and not any(_OUTPUT_NORM.match(name) for name in report.matched):
        wanted = [name for name in wanted if not _OUTPUT_NORM.match(name)]
    share = len(report.matched) / (len(report.matched) + len(wanted))
    if share >= min_match:
        return None
    return (
        f"only {share:.0%} of the model's tensors are in it, {min_match:.0%} are needed; check MODEL.WEIGHTS "
        "and the config file, or take it all the same with --allow-partial"
    )


def _other_head(report):
    """What keeps a mask head from being the model's own with other classes; [] if it is, or if there is none."""
    if _part(_HEAD) in report.fresh:
        return []
    other = [f"{name} {list(theirs)} for {list(ours)}" for name, theirs, ours in report.mismatched]
    names = (*other, *report.missing, *report.unexpected)
    return [name for name in names if name.startswith(_HEAD) and not name.startswith(_CLASSES)]


def _log(report):
    fresh = f"; starts fresh: {', '.join(report.fresh)}" if report.fresh else ""
    logger.info("weights from %s: %s%s", report.source, report.counts(), fresh)
    # Fresh parts are said above; other losses deserve their names.
    left = [name for name in report.missing if _part(name) not in report.fresh]
    left += [f"{name} {list(theirs)} for {list(ours)}" for name, theirs, ours in report.mismatched]
    if report.unexpected:
        logger.warning("not used of %s: %s", report.source, _few(report.unexpected))
    if left:
        logger.warning("not loaded from %s: %s", report.source, _few(left, 10))


def _few(names, number=5):
    more = f" and {len(names) - number} more" if len(names) > number else ""
    return ", ".join(names[:number]) + more
