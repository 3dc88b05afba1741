"""Random video detection sets, small, with the accidents that break metrics: ties, empty frames, crowded
ones."""

import numpy as np
import pytest

from stpn.evaluation.tables import Detections, GroundTruth


def _random_set(seed, *, frames=12, classes=3, integer=False):
    """-> Detections, GroundTruth with motion. integer: whole-number boxes and scores of one decimal (many
    ties)."""
    rng = np.random.default_rng(seed)
    boxes = []
    for frame in range(frames):
        for _ in range(rng.choice([0, 1, 2, 5])):
            xy, wh = rng.integers(0, 60, 2), rng.integers(4, 120, 2)
            boxes.append((frame, rng.integers(classes), *xy, *(xy + wh), rng.uniform(0.3, 1.0)))
    truth = np.array(boxes, dtype=np.float64).reshape(-1, 7)
    found = truth[rng.random(len(truth)) < 0.8].repeat(2, axis=0)
    noise = rng.normal(0, 6, (len(found), 4))
    stray = rng.uniform(0, 100, (frames, 4))
    box = np.concatenate(
        [found[:, 2:6] + noise, np.concatenate([stray[:, :2], stray[:, :2] + stray[:, 2:]], 1)]
    )
    label = np.concatenate([found[:, 1], rng.integers(0, classes, frames)])
    label = np.where(rng.random(len(label)) < 0.1, rng.integers(0, classes, len(label)), label)
    frame = np.concatenate([found[:, 0], rng.integers(0, frames, frames)])
    score = rng.random(len(label))
    if integer:
        box, score = box.round(), score.round(1)
    return (
        Detections(frame.astype(int), label.astype(int), box.astype(np.float32), score),
        GroundTruth(truth[:, 0].astype(int), truth[:, 1].astype(int), truth[:, 2:6], frames, truth[:, 6]),
    )


@pytest.fixture(scope="session")
def random_set():
    return _random_set
