"""Walk one video and hand out each frame with the embeddings of its support frames, or with its prompts."""

from collections import deque

from .embedding import SupportCache, stack_maps


def support_stream(frames, sampler, embed, join=stack_maps):
    """Yield (t, frame, support) for every frame of one video, in order.

    frames: an object with `length` (int or None when not known), `iter(frames)` and, for policies that need
        the whole video first, `frames.select(indices)` yielding those frames in ascending order.
    sampler: SupportSampler; its policy decides how far the stream reads ahead.
    embed: frame -> (h, w, C) support embedding. It is called exactly once for each support frame.
    join: list of embeddings -> support; the default gives (1, K, h, w, C).
    -> support: the same object while the support frames are the same.

    Memory: the frames read ahead (sampler.look_ahead) and the embeddings within the sampler's reach, however
    long the video is. The end of the video is where `frames` ends, whatever `length` says.
    """
    if sampler.look_ahead is None:
        support = whole_video_support(frames, sampler, embed, join)
        for t, frame in enumerate(frames):
            yield t, frame, support
        return
    cache = SupportCache(join)
    ahead, source, read, length = deque(), iter(frames), 0, None
    try:
        t = 0
        while True:
            while length is None and read <= t + sampler.look_ahead:
                frame = next(source, None)
                if frame is None:
                    length = read
                    break
                if sampler.serves(read):
                    cache.put(read, embed(frame))
                ahead.append(frame)
                read += 1
            if not ahead:
                return
            yield t, ahead.popleft(), cache.window(sampler.test(t, length))
            t += 1
            cache.forget(t - sampler.reach_back)
    finally:
        close = getattr(source, "close", None)
        if close:
            close()


def whole_video_support(frames, sampler, embed, join=stack_maps):
    """Policy spread: the support of all frames alike, from frames all over the video. Arguments as above."""
    if frames.length is None:
        raise ValueError(f"policy {sampler.policy!r} needs the whole video before its first frame; "
                         "use 'causal' (or 'grid') for a source without an end")
    indices = sampler.test(0, frames.length)
    wanted = sorted(set(indices))
    cache = SupportCache(join)
    for i, frame in zip(wanted, frames.select(wanted)):
        cache.put(i, embed(frame))
    return cache.window(indices)


class PromptedFrames:
    """One video's frames, each with the prompts for it: pairs (frame, prompts), which a further support_stream can
    walk in turn. It lives and dies with one walk of the video.

    frames, sampler, embed: as in support_stream; predict: support -> prompts, called once for each change of the
    support frames. sampler None: no prompts, the pairs are (frame, None).
    """

    def __init__(self, frames, sampler, embed, predict):
        self.length = frames.length
        self._frames, self._sampler, self._embed, self._predict = frames, sampler, embed, predict
        self._everywhere = None  # policy spread: the prompts of all frames

    def __iter__(self):
        if self._one_for_all:
            prompts = self._prompts_everywhere()
            yield from ((frame, prompts) for frame in self._frames)
            return
        known = prompts = None
        for _, frame, support in support_stream(self._frames, self._sampler, self._embed):
            if support is not known:
                known, prompts = support, self._predict(support)
            yield frame, prompts

    def select(self, indices):
        if not self._one_for_all:
            raise ValueError(f"under policy {self._sampler.policy!r} prompts come in the order of the video; frames "
                             "picked from all over it need the policy 'spread'")
        prompts = self._prompts_everywhere()
        return ((frame, prompts) for frame in self._frames.select(indices))

    @property
    def _one_for_all(self):
        return self._sampler is None or self._sampler.look_ahead is None

    def _prompts_everywhere(self):
        if self._everywhere is None and self._sampler is not None:
            self._everywhere = self._predict(whole_video_support(self._frames, self._sampler, self._embed))
        return self._everywhere
