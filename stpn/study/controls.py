"""Controls: what is done to a trained model so that a gain from its supports must go.

CONTROLS: name -> change(model, loader), before the model is evaluated on the loader's videos.
"""

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


def own_frame_only(model, loader):
    """Each frame is its own only support."""
    model.sampler = SupportSampler(policy="causal", stride=1, frames_per_side=1)


def no_prompts(model, loader):
    """The prompted model, run without its prompts."""
    model.prompt_predictor = None


CONTROLS = {"another_video": supports_of_another_video, "own_frame": own_frame_only, "no_prompts": no_prompts}
