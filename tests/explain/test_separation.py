"""The silhouette against scikit-learn's, and its interval by hand."""

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from stpn.explain.separation import Silhouette, difference_interval, silhouettes


def objects(count=90, videos=9, seed=0):
    """Features of three classes around centres; a video has objects of one class or two."""
    rng = np.random.default_rng(seed)
    video = rng.integers(0, videos, count)
    label = np.where(rng.random(count) < 0.8, video % 3, (video + 1) % 3) * 4 + 1
    return rng.normal(size=(count, 5)) + label[:, None] * rng.normal(size=5), label, video * 10


def test_it_is_scikit_learns_silhouette_of_any_scale():
    features, label, video = objects()
    expected = silhouette_score(features, label)
    assert Silhouette(features, label, video).score() == pytest.approx(expected, abs=1e-9)
    assert Silhouette(1e-3 * features + 50, label, video).score() == pytest.approx(expected, abs=1e-6)


def test_an_object_alone_in_its_class_has_0_as_in_scikit_learn():
    features, label, video = objects(30)
    label[0] = 99
    assert Silhouette(features, label, video).score() == pytest.approx(silhouette_score(features, label), abs=1e-9)


def test_videos_left_out_or_taken_twice_count_so():
    """Plainly: only the copies' own distance of 0 to each other is left away."""
    features, label, video = objects(40, videos=4)
    times = np.array([2, 0, 1, 3])
    copies = np.repeat(np.arange(40), times[video // 10])
    each = []
    for i in copies:
        others = copies[copies != i]
        distance = np.linalg.norm(features[others] - features[i], axis=1)
        means = {c: distance[label[others] == c].mean() for c in np.unique(label[others])}
        own = means.pop(label[i])
        each.append((min(means.values()) - own) / max(own, min(means.values())))
    assert Silhouette(features, label, video).score(times) == pytest.approx(np.mean(each), abs=1e-9)


def test_no_second_class_is_no_number():
    features, _, video = objects(20)
    assert np.isnan(Silhouette(features, np.zeros(20), video).score())
    told = silhouettes([features, features], np.zeros(20), video, seed=0)
    assert told["model"] is None and told["note"] == "one class"
    assert silhouettes([features[:9]] * 2, np.arange(9), video[:9], seed=0)["note"] == "fewer than 10 objects"
    assert silhouettes([features] * 2, np.arange(20) % 2, np.arange(20) % 4, seed=0)["note"] == "fewer than 5 videos"


def test_the_interval_holds_0_for_equal_models_and_not_for_one_that_separates_better():
    features, label, video = objects()
    label_centres = 10.0 * np.eye(5)[label // 4]
    noise = np.random.default_rng(1).normal(size=features.shape)
    same = silhouettes([label_centres + noise, label_centres + np.roll(noise, 1, 1)], label, video, seed=0)
    better = silhouettes([noise, label_centres + noise], label, video, seed=0)
    assert same["interval"][0] < 0 < same["interval"][1]
    assert 0.3 < better["interval"][0] < better["difference"] < better["interval"][1]


def test_the_interval_depends_on_the_seed_alone():
    features, label, video = objects(60)
    first, second = Silhouette(features, label, video), Silhouette(features[:, :2], label, video)
    assert difference_interval(first, second, seed=3) == difference_interval(first, second, seed=3)
    assert difference_interval(first, second, seed=3) != difference_interval(first, second, seed=4)
    assert difference_interval(first, first, seed=3) == (0.0, 0.0)
