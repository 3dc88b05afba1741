"""Controls: what is done to a trained STPN model so that a gain from its supports must go. Each takes (model, loader)
before the model is evaluated on the loader's videos; CONTROLS has them by name.
"""

import itertools

from ..errors import InputError
from ..prompting import SupportSampler


def supports_of_another_video(model, loader):
    """Frame t of a video is supported by the frames of the video before it in the list (the first: the last)."""
    videos = [video["frames"] for batch in loader for video in batch]
    other = {frames.name: videos[i - 1] for i, frames in enumerate(videos)}
    embed, prompted = model._embed_frame, model.prompted

    def prompted_by_other(frames, sampler=None):
        items = list(other[frames.name])
        model._embed_frame = lambda item: embed(items[min(item["frame"].index, len(items) - 1)])
        return prompted(frames, sampler)

    model.prompted = prompted_by_other


def prompts_of_another_target(model, loader):
    """The same for a tracker: frame t has the prompts of frame t of the sequence before it in the list, as its target
    is tracked with its own supports. In all sequences they are predicted anew at the same frames."""
    samples = [sample for batch in loader for sample in batch]
    other = {sample["frames"].name: samples[i - 1] for i, sample in enumerate(samples)}
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


def own_frame_only(model, loader):
    """Each frame is its own only support. InputError for a tracker, which looks back alone."""
    if hasattr(model, "follow"):
        raise InputError("a tracker's frame cannot be its own support, since its supports are of the past; choose "
                         "another control")
    model.sampler = SupportSampler(policy="causal", stride=1, frames_per_side=1)


def no_prompts(model, loader):
    """The prompted model, run without its prompts."""
    model.prompt_predictor = None


def of_another_video(model, loader):
    """Supports, or of a tracker prompts, from another video of the set."""
    (prompts_of_another_target if hasattr(model, "follow") else supports_of_another_video)(model, loader)


CONTROLS = {"another_video": of_another_video, "own_frame": own_frame_only, "no_prompts": no_prompts}
