"""The controls of the toy table take away from a tracker what they say, and nothing else."""

import numpy as np
import torch
from tiny_vot import frames_of, moving_square, vot_model

from stpn.study import controls


class Frames(list):
    """A reader of one sequence, as far as a tracker and the controls use it."""

    def __init__(self, name, items):
        super().__init__(items)
        self.name = name


def sequences(*lengths):
    """-> the batches of a loader."""
    found = []
    for seed, length in enumerate(lengths):
        images, boxes = moving_square(length, seed=seed)
        found.append([{"frames": Frames(f"s{seed}", frames_of(images)), "box": boxes[0].tolist()}])
    return found


def told(model, samples):
    """Track samples in eval mode -> results, and for each the prompts that the encoder was given, by frame."""
    given, encode = [], model.backbone._run

    def run(images, prompts, templates):
        if templates is not None and prompts is not None:  # neither a template nor a support
            given[-1].append(prompts[0])
        return encode(images, prompts, templates)

    model.backbone._run = run
    results = []
    for sample in samples:
        given.append([])
        results.append(model([sample])[0])
    model.backbone._run = encode
    return results, given


def test_a_tracker_gets_the_prompts_that_another_target_has_at_the_same_frame():
    loader = sequences(8, 11, 6)
    samples = [sample for batch in loader for sample in batch]
    model = vot_model()
    with torch.no_grad():
        plain, own = told(model, samples)
        controls.prompts_of_another_target(model, loader)
        swapped, given = told(model, samples)
    for i, length in enumerate((8, 11, 6)):
        of_other, mine = own[i - 1], given[i][-(length - 1):]  # before them: the other target's, tracked first
        for t, prompts in enumerate(mine):
            # Beyond the end of the other sequence its last prompts stay.
            assert torch.equal(prompts, of_other[min(t, len(of_other) - 1)])
        assert not np.array_equal(swapped[i]["boxes"], plain[i]["boxes"])


def test_a_tracker_that_is_its_own_other_target_tracks_as_before():
    loader = sequences(8)
    model = vot_model()
    with torch.no_grad():
        plain = model(loader[0])[0]
        controls.prompts_of_another_target(model, loader)
        swapped = model(loader[0])[0]
    assert np.array_equal(plain["boxes"], swapped["boxes"])


def test_a_tracker_without_its_predictor_needs_no_support_and_tracks_on():
    loader = sequences(8)
    model = vot_model()
    with torch.no_grad():
        plain = model(loader[0])[0]
        controls.no_prompts(model, loader)
        found, given = told(model, loader[0])
    assert given == [[]] and not np.array_equal(found[0]["boxes"], plain["boxes"])
