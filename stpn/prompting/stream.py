"""Walk one video and hand out each frame with the embeddings of its support frames."""

from collections import deque

from .embedding import SupportCache


def support_stream(frames, sampler, embed):
    """Yield (t, frame, support) for every frame of one video, in order.

    frames: an object with `length` (int or None when not known), `iter(frames)` and, for policies that need
        the whole video first, `frames.select(indices)` yielding those frames in ascending order.
    sampler: SupportSampler; its policy decides how far the stream reads ahead.
    embed: frame -> (h, w, C) support embedding. It is called exactly once for each support frame.
    -> support: (1, K, h, w, C); the same tensor object while the support frames are the same.

    Memory: the frames read ahead (sampler.look_ahead) and the embeddings within the sampler's reach, however
    long the video is. The end of the video is where `frames` ends, whatever `length` says.
    """
    cache = SupportCache()
    if sampler.look_ahead is None:
        yield from _whole_video(frames, sampler, embed, cache)
        return
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


def _whole_video(frames, sampler, embed, cache):
    """Policy spread: the support frames first, from all over the video, then one pass."""
    if frames.length is None:
        raise ValueError(f"policy {sampler.policy!r} needs the whole video before its first frame; "
                         "use 'causal' (or 'grid') for a source without an end")
    indices = sampler.test(0, frames.length)
    wanted = sorted(set(indices))
    for i, frame in zip(wanted, frames.select(wanted)):
        cache.put(i, embed(frame))
    for t, frame in enumerate(frames):
        yield t, frame, cache.window(indices)
