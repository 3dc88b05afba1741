"""load_weights: put a checkpoint of any known style into a model, or refuse it with counts."""

import logging
from dataclasses import dataclass, field

import torch

from ..errors import InputError
from .checkpoint_file import RECOMPUTED, check_finite, read_checkpoint
from .weight_fit import few, fit_problem, part_of
from .weight_names import choose_weights, to_model_names

logger = logging.getLogger(__name__)

# Class weights of the mask losses: published files hold them, ours follow from the config and never from a file.
_FROM_CONFIG = "criterion.empty_weight"
# Set by the config or by counting, so a checkpoint without them is whole.
_NOT_WEIGHTS = (*RECOMPUTED, "pixel_mean", "pixel_std", "num_batches_tracked", "cell_anchors", _FROM_CONFIG)


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
        return "; ".join(f"{kind}: {few(names)}" for kind, names in kinds.items() if names)


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
        weights = {key: value for key, value in weights.items() if part_of(key) == "backbone"}
    report = compare(weights, targets, source=f"{name}[{container}]" if container else name)
    frozen = [key for key, parameter in model.named_parameters() if not parameter.requires_grad]
    problem = fit_problem(report, scope=scope, allow_partial=allow_partial, min_match=min_match, frozen=frozen)
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
    found = {part_of(name) for name in report.matched}
    wanted = report.missing + [name for name, _, _ in report.mismatched]
    report.fresh = sorted({part_of(name) for name in wanted} - found)
    return report


def put(model, weights, names):
    """Copy the named tensors into model; the model's own type and device stay."""
    with torch.no_grad():
        model.load_state_dict({name: weights[name] for name in names}, strict=False)


def _log(report):
    fresh = f"; starts fresh: {', '.join(report.fresh)}" if report.fresh else ""
    logger.info("weights from %s: %s%s", report.source, report.counts(), fresh)
    # Fresh parts are said above; other losses deserve their names.
    left = [name for name in report.missing if part_of(name) not in report.fresh]
    left += [f"{name} {list(theirs)} for {list(ours)}" for name, theirs, ours in report.mismatched]
    if report.unexpected:
        logger.warning("not used of %s: %s", report.source, few(report.unexpected))
    if left:
        logger.warning("not loaded from %s: %s", report.source, few(left, 10))
