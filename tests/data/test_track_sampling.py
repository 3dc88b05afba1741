"""Which frames a tracker's training sample is made of, against the recorded draws of MixFormer's code."""

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stpn.data.track_sampling import draw_frames, is_long_enough, seen_frames
from stpn.errors import InputError


@pytest.mark.parametrize("key, mode, gap", [
    ("causal_200", "causal", 200), ("causal_20", "causal", 20), ("trident_pro_[200]", "trident_pro", 200),
    ("trident_pro_[30]", "trident_pro", 30), ("trident_[30]", "trident", 30)])  # fmt: skip
def test_draws_equal_the_recorded_ones(fixtures_dir, key, mode, gap):
    recorded = json.loads((fixtures_dir / "vot/ops/sampler_ids.json").read_text())
    rng, rows = random.Random(recorded["seed"]), recorded["rows_template0_template1_search"][key]
    assert len(rows) == 200
    assert [list(draw_frames(recorded["visible"], mode=mode, max_gap=gap, rng=rng)) for _ in rows] == rows


def plain_causal(visible, gap, rng):
    """The rule in words, frame by frame, with the same numbers drawn."""
    while True:
        picks, low, high = [], 1, len(visible) - 1
        for step in range(3):
            fitting = [t for t in range(len(visible)) if visible[t] and low <= t < high]
            if not fitting:
                break
            picks.append(fitting[int(rng.random() * len(fitting))])
            low, high = (picks[0] - gap, picks[0]) if step == 0 else (picks[0] + 1, picks[0] + gap)
        if len(picks) == 3:
            return tuple(picks)
        gap += 5


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=12, max_size=60), st.integers(1, 70), st.integers(0, 10**6))
def test_causal_draws_equal_a_plain_rewrite(visible, gap, seed):
    visible[2:9] = [True] * 7
    one, two = random.Random(seed), random.Random(seed)
    for _ in range(5):
        assert draw_frames(visible, mode="causal", max_gap=gap, rng=one) == plain_causal(visible, gap, two)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=12, max_size=60), st.integers(1, 70),
       st.sampled_from(["trident", "trident_pro"]), st.integers(0, 10**6))  # fmt: skip
def test_online_template_lies_near_the_search_frame_on_the_templates_side(visible, gap, mode, seed):
    visible[2:9] = [True] * 7
    template, online, search = draw_frames(visible, mode=mode, max_gap=gap, rng=random.Random(seed))
    assert visible[template] and visible[search] and (visible[online] or mode == "trident_pro")
    assert 0 <= online - search < gap if template >= search else 0 < search - online <= gap


def test_a_gap_that_no_frame_fits_is_refused_in_words():
    seen = [True] + [False] * 30
    with pytest.raises(InputError, match="1 of 31 frames show the target.*SAMPLING causal and MAX_GAP 9; raise"):
        draw_frames(seen, mode="causal", max_gap=9, rng=random.Random(0))


def test_missing_pictures_are_not_drawn_where_the_target_need_not_be_seen():
    present, rng = np.arange(30) % 3 > 0, random.Random(0)
    for _ in range(200):
        drawn = draw_frames(present, mode="trident_pro", max_gap=20, rng=rng, present=present)
        assert present[list(drawn)].all()


def test_frames_count_as_seen_by_the_published_rule():
    record = {"boxes": np.array([[0, 0, 4, 5]] * 5 + [[0, 0, 0, 5], [0, 0, 4, -1]], np.float64),
              "absent": np.array([0, 1, 0, 1, 0, 0, 0], bool), "cover": np.array([8, 8, 0, 0, 1, 8, 8])}
    assert seen_frames(record).tolist() == [True, False, False, False, True, False, False]
    assert seen_frames({**record, "cover": None}).tolist() == [True, False, True, False, True, False, False]


@pytest.mark.parametrize("length, seen, accepted", [(20, 7, True), (20, 6, False), (19, 19, False), (1, 1, False),
                                                    (200, 0, False)])
def test_sequences_are_accepted_by_length_and_by_frames_that_show_the_target(length, seen, accepted):
    assert is_long_enough(np.arange(length) < seen, 20) == accepted
