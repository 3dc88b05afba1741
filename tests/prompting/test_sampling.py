"""SupportSampler against tables written by hand and the recorded indices of the published code."""

import json

import numpy as np
import pytest

from stpn.prompting import SupportSampler


def sampler(**kwargs):
    return SupportSampler(**{"frames_per_side": 2, "stride": 4, **kwargs})


@pytest.mark.parametrize("t, length, expected", [
    (0, 40, [0, 0, 4, 8]),  # start: clamped to frame 0
    (7, 40, [0, 4, 8, 12]),
    (8, 40, [4, 8, 12, 16]),  # on the grid: the frame itself is the nearest multiple
    (38, 40, [32, 36, 36, 36]),  # end: the last multiple is repeated, not the last frame
    (0, 1, [0, 0, 0, 0]),
    (100, None, [96, 100, 104, 108]),
])
def test_grid_by_hand(t, length, expected):
    assert sampler(policy="grid").test(t, length) == expected


@pytest.mark.parametrize("t, length, expected", [
    (0, 40, [0, 0, 4, 8]), (10, 40, [2, 6, 14, 18]), (39, 40, [31, 35, 39, 39]), (0, 1, [0, 0, 0, 0]),
])
def test_sliding_by_hand(t, length, expected):
    assert sampler(policy="sliding").test(t, length) == expected


@pytest.mark.parametrize("t, expected", [(0, [0, 0]), (3, [0, 0]), (4, [0, 4]), (21, [16, 20])])
def test_causal_by_hand(t, expected):
    assert sampler(policy="causal").test(t, 40) == expected


@pytest.mark.parametrize("policy", ["grid", "causal"])
def test_supports_change_only_on_the_grid(policy):
    chosen = [tuple(sampler(policy=policy).test(t, 41)) for t in range(41)]
    changes = [t for t in range(1, 41) if chosen[t] != chosen[t - 1]]
    assert all(t % 4 == 0 for t in changes) and changes


def test_causal_never_looks_ahead():
    s = sampler(policy="causal")
    assert s.look_ahead == 0
    assert all(max(s.test(t, length)) <= t for length in (1, 5, 50) for t in range(length))


def test_own_is_the_frame_alone_in_testing_and_in_training():
    s = sampler(policy="own", train_frames=2)
    assert [s.test(t, 9) for t in range(9)] == [[t] for t in range(9)]
    assert [s.train(t, 9, np.random.default_rng(0)) for t in (0, 4, 8)] == [[0, 0], [4, 4], [8, 8]]


@pytest.mark.parametrize("policy", ["grid", "sliding", "causal", "own"])
@pytest.mark.parametrize("length", [1, 2, 5, 8, 9, 50])
def test_supports_lie_within_the_promised_reach_and_are_served(policy, length):
    s = sampler(policy=policy)
    for t in range(length):
        indices = s.test(t, length)
        assert indices == sorted(indices)
        assert 0 <= indices[0] and indices[-1] < length
        assert t - s.reach_back <= indices[0] and indices[-1] <= t + s.look_ahead
        assert all(s.serves(i) for i in indices)
        if t + s.look_ahead < length:
            assert indices == s.test(t, None)


def test_spread_equals_the_recorded_adaptive_stride(fixtures_dir):
    cases = json.loads((fixtures_dir / "vod" / "sampling" / "ref_sampling.json").read_text())
    cases = [c for c in cases if c["method"] == "test_with_adaptive_stride" and c["frame"] == 0 and c["num_ref"] == 14]
    assert cases
    for case in cases:
        assert SupportSampler(policy="spread").test(0, case["n"]) == case["refs"]


def test_spread_without_a_length_is_refused():
    with pytest.raises(ValueError, match="needs the length"):
        SupportSampler(policy="spread").test(0, None)


@pytest.mark.parametrize("length", [2, 3, 30])
def test_training_never_returns_the_frame_itself(length):
    rng = np.random.default_rng(0)
    s = sampler(train_frames=2, train_range=9)
    for t in range(length):
        for _ in range(20):
            chosen = s.train(t, length, rng)
            assert len(chosen) == 2 and t not in chosen
            assert all(0 <= i < length and abs(i - t) <= 9 for i in chosen)


def test_training_takes_one_frame_of_each_side():
    rng = np.random.default_rng(0)
    chosen = [sampler().train(15, 30, rng) for _ in range(50)]
    assert all(a < 15 < b for a, b in chosen)
    assert len(set(map(tuple, chosen))) > 10


def test_a_still_image_supports_itself():
    assert sampler(train_frames=3).train(0, 1, np.random.default_rng(0)) == [0, 0, 0]


@pytest.mark.parametrize("wrong", [{"policy": "future"}, {"stride": 0}, {"frames_per_side": 0}, {"train_frames": 1.5}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(ValueError, match="expected"):
        sampler(**wrong)


def test_shares_of_a_spread_are_the_turns_of_a_denser_one():
    whole = SupportSampler(policy="spread", spread_frames=8).test(0, 100)
    parts = [SupportSampler(policy="spread", spread_frames=4, share=(part, 2)).test(0, 100) for part in (0, 1)]
    assert [i for pair in zip(*parts) for i in pair] == whole


def test_with_policy_changes_the_policy_alone():
    first = SupportSampler(policy="grid", frames_per_side=3, stride=5, spread_frames=4, share=(1, 2))
    second = first.with_policy("spread")
    assert first.policy == "grid" and vars(second) == {**vars(first), "policy": "spread"}
