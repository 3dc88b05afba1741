"""support_stream and SupportCache against every clip embedded afresh."""

import pytest
import torch

from stpn.prompting import PromptedFrames, SupportCache, SupportSampler, embed_support, support_stream


class Frames:
    """Frames that are their own index; counts how far it was read."""

    def __init__(self, count, length="count"):
        self.count, self.length, self.read, self.closed = count, count if length == "count" else length, 0, False

    def __iter__(self):
        try:
            for i in range(self.count):
                self.read = i + 1
                yield i
        finally:
            self.closed = True

    def select(self, indices):
        return iter(indices)


def embedding(i):
    return torch.full((2, 3, 4), float(i))


def walk(sampler, frames):
    calls = []

    def embed(frame):
        calls.append(frame)
        return embedding(frame)

    return list(support_stream(frames, sampler, embed)), calls


def sampler(policy):
    return SupportSampler(policy=policy, frames_per_side=2, stride=3)


@pytest.mark.parametrize("policy", ["grid", "sliding", "spread", "causal"])
@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 20])
def test_stream_equals_every_clip_afresh(policy, count):
    results, calls = walk(sampler(policy), Frames(count))
    assert [(t, frame) for t, frame, _ in results] == [(t, t) for t in range(count)]
    for t, _, support in results:
        afresh = torch.stack([embedding(i) for i in sampler(policy).test(t, count)])[None]
        assert torch.equal(support, afresh)
    assert len(calls) == len(set(calls)), "each support frame is embedded exactly once"


@pytest.mark.parametrize("policy", ["grid", "sliding", "causal"])
def test_a_wrong_or_missing_length_changes_nothing(policy):
    supports = [[s for _, _, s in walk(sampler(policy), Frames(17, length))[0]] for length in (17, None, 500)]
    for other in supports[1:]:
        assert all(torch.equal(a, b) for a, b in zip(supports[0], other))


def test_only_grid_frames_are_embedded():
    assert walk(sampler("grid"), Frames(20))[1] == [0, 3, 6, 9, 12, 15, 18]


@pytest.mark.parametrize("policy", ["grid", "sliding", "causal"])
def test_stream_reads_ahead_as_far_as_the_policy_needs_and_no_further(policy):
    frames, s = Frames(50), sampler(policy)
    for t, _, _ in support_stream(frames, s, embedding):
        assert frames.read == min(50, t + s.look_ahead + 1)


@pytest.mark.parametrize("policy", ["grid", "sliding", "causal"])
def test_cache_is_bounded_by_the_reach(policy, monkeypatch):
    sizes = []
    put = SupportCache.put
    monkeypatch.setattr(SupportCache, "put", lambda self, *a: (put(self, *a), sizes.append(len(self))))
    s = sampler(policy)
    walk(s, Frames(300))
    assert max(sizes) <= s.reach_back + s.look_ahead + 1
    assert max(sizes[-50:]) <= max(sizes[:50])


def test_support_is_the_same_object_while_the_frames_are_the_same():
    results, _ = walk(sampler("grid"), Frames(12))
    for t in range(1, 12):
        assert (results[t][2] is results[t - 1][2]) == (sampler("grid").test(t, 12) == sampler("grid").test(t - 1, 12))


def test_two_streams_at_once_do_not_mix():
    a = support_stream(Frames(9), sampler("grid"), embedding)
    b = support_stream(Frames(9), sampler("grid"), lambda i: embedding(i) + 100)
    for (_, _, x), (_, _, y) in zip(a, b):
        assert torch.equal(x + 100, y)


def test_an_abandoned_stream_closes_its_source():
    frames = Frames(50)
    stream = support_stream(frames, sampler("grid"), embedding)
    next(stream)
    stream.close()
    assert frames.closed


def test_spread_without_a_length_says_which_policies_work():
    with pytest.raises(ValueError, match="causal"):
        next(support_stream(Frames(5, None), sampler("spread"), embedding))


def test_maps_of_another_size_are_resampled_to_the_newest():
    cache = SupportCache()
    cache.put(0, torch.ones(2, 3, 4))
    cache.put(1, torch.full((4, 6, 4), 2.0))
    window = cache.window([0, 1])
    assert window.shape == (1, 2, 4, 6, 4)
    assert torch.equal(window[0, 0], torch.ones(4, 6, 4))


class Noisy(torch.nn.Module):
    embed_feature = "res5"

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 5, 4, 4)
        self.drop = torch.nn.Dropout(0.5)
        self.frozen = torch.nn.BatchNorm2d(5).eval()

    def forward(self, images, prompts=None):
        assert prompts is None
        return {"res5": self.frozen(self.drop(self.conv(images)))}


def test_support_pass_has_no_randomness_and_gives_every_mode_back():
    model = Noisy()
    clips = torch.randn(2, 3, 3, 8, 12)
    a, b = embed_support(model, clips), embed_support(model, clips)
    assert a.shape == (2, 3, 2, 3, 5) and torch.equal(a, b)
    assert model.training and model.drop.training and not model.frozen.training


def test_support_pass_has_gradient_only_when_asked():
    model, clips = Noisy(), torch.randn(1, 2, 3, 8, 8)
    assert not embed_support(model, clips).requires_grad
    assert embed_support(model, clips, grad=True).requires_grad
    with torch.no_grad():
        assert not embed_support(model, clips, grad=True).requires_grad


@pytest.mark.parametrize("policy", ["grid", "sliding", "spread", "causal"])
def test_prompted_frames_give_each_frame_the_prompts_of_its_own_support(policy):
    predicted = []
    pairs = PromptedFrames(Frames(20), sampler(policy), embedding, lambda s: (predicted.append(s), s.sum())[1])
    for t, (frame, prompts) in enumerate(pairs):
        expected = torch.stack([embedding(i) for i in sampler(policy).test(t, 20)]).sum()
        assert frame == t and torch.equal(prompts, expected)
    changes = len({tuple(sampler(policy).test(t, 20)) for t in range(20)})
    assert len(predicted) == changes


def test_prompted_frames_pick_any_frame_when_all_have_the_same_prompts():
    calls = []
    pairs = PromptedFrames(Frames(20), sampler("spread"), embedding, lambda s: (calls.append(1), s.sum())[1])
    prompts = next(iter(pairs))[1]
    assert [frame for frame, _ in pairs.select([3, 17])] == [3, 17]
    assert all(p is prompts for _, p in pairs.select([3, 17])) and calls == [1]
    plain = PromptedFrames(Frames(20), None, embedding, None)
    assert list(plain.select([4, 5])) == [(4, None), (5, None)] and [f for f, _ in plain] == list(range(20))


def test_prompted_frames_of_a_moving_window_cannot_be_picked():
    with pytest.raises(ValueError, match="need the policy 'spread'"):
        PromptedFrames(Frames(20), sampler("grid"), embedding, None).select([3])
