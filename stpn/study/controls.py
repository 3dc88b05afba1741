"""Controls: what is done to an STPN model so that a gain from its neighbours must go. CONTROLS has them by name.

Some are done to a trained model: they take (model, loader) before it is evaluated on the loader's videos. The others
are settings of a model that is trained so.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

from ..errors import InputError

NOT_OWN = ("a tracker's supports are of the past, and SELSA's support frames would change with the prompts'; choose "
           "other controls")


class Control(NamedTuple):
    """title: its row in a table; rules_out: what STPN's gain is not made of where the control has none; apply: of a
    trained model, or None; overrides: of one that is trained: {KEY: value}."""

    title: str
    rules_out: str
    apply: Callable | None = None
    overrides: dict = {}


def supports_of_another_video(model, loader):
    """Frame t of a video is supported by the frames of the video before it in the set (the first: the last)."""
    other = {sample["frames"].name: before["frames"] for sample, before in _with_the_one_before(loader)}
    embed, prompted = model._embed_frame, model.prompted

    def prompted_by_other(frames, sampler=None):
        item_at = _walk(other[frames.name])
        model._embed_frame = lambda item: embed(item_at(item["frame"].index))
        return prompted(frames, sampler)

    model.prompted = prompted_by_other


def prompts_of_another_target(model, loader):
    """The same for a tracker: frame t has the prompts of frame t of the sequence before it in the set, as its target is
    tracked with its own supports. In all sequences they are predicted anew at the same frames."""
    other = {sample["frames"].name: before for sample, before in _with_the_one_before(loader)}
    follow, predictor = model.follow, model.prompt_predictor

    def follow_prompted_by_other(frames, box):
        predicted, calls = [], itertools.count()
        hook = predictor.register_forward_hook(lambda module, arguments, prompts: predicted.append(prompts))
        follow(other[frames.name]["frames"], other[frames.name]["box"])
        hook.remove()
        # What a hook returns takes the place of the output.
        hook = predictor.register_forward_hook(lambda *_: predicted[min(next(calls), len(predicted) - 1)])
        found = follow(frames, box)
        hook.remove()
        return found

    model.follow = follow_prompted_by_other


def _with_the_one_before(loader):
    """-> [(sample, the one before it), ...] of the whole set, whatever part of it this process evaluates."""
    samples = [loader.dataset[i] for i in range(len(loader.dataset))]
    if len(samples) < 2:
        raise InputError(f"the set has {len(samples)} videos, so none has another's supports; evaluate with at least "
                         "2, or leave this control out (controls in the study file)")
    return [(sample, samples[i - 1]) for i, sample in enumerate(samples)]


def _walk(frames):
    """-> a function index -> item of frames, or its last where it is shorter. Indices must not go down: one item is
    kept."""
    left, last = enumerate(frames), [-1, None]

    def item_at(index):
        while last[0] < index and (step := next(left, None)) is not None:
            last[:] = step
        return last[1]

    return item_at


def own_frame_only(model, loader):
    """Each frame is its own only support. InputError for a tracker, which looks back alone, and for SELSA, whose own
    support frames would change with the prompts'."""
    if hasattr(model, "follow") or hasattr(model, "selsa_sampler"):
        raise InputError(f"{type(model).__name__} cannot be evaluated with each frame as its own support: {NOT_OWN}")
    model.sampler = model.sampler.with_policy("own")


def no_prompts(model, loader):
    """The prompted model, run without its prompts."""
    model.prompt_predictor = None


def of_another_video(model, loader):
    """Supports, or of a tracker prompts, from another video of the set."""
    (prompts_of_another_target if hasattr(model, "follow") else supports_of_another_video)(model, loader)


CONTROLS = {
    "another_video": Control("supports of another video", "any prompts that look like a video's", of_another_video),
    "own_frame": Control("own frame as only support", "a second look at the frame itself", own_frame_only),
    "no_prompts": Control("prompts removed", "weights that were merely trained better", no_prompts),
    "learnt_prompts": Control("learnt constant prompts (VPT)", "more tokens, the same for every frame",
                              overrides={"MODEL.STPN.PREDICTOR.NAME": "ConstantPredictor",  # which has no options
                                         "MODEL.STPN.PREDICTOR.TOKEN_NORM": False,
                                         "MODEL.STPN.PREDICTOR.HIDDEN_DIM": 0}),
    "own_frame_trained": Control("same parameters, own frame only", "more parameters and a second pass",
                                 overrides={"INPUT.SUPPORT.TEST_POLICY": "own"}),
}


def control_rows(row, names):
    """The controls `names` of a trained row -> rows of a study."""
    return [_control_row(row, name, CONTROLS[name]) for name in names]


def _control_row(row, name, control):
    overrides = [*row.overrides, *(part for pair in control.overrides.items() for part in pair)]
    of = row.name if control.apply else ""
    return row._replace(name=control.title, overrides=overrides, weights_of=of, control=name, x=None, baseline=False,
                        series="")
