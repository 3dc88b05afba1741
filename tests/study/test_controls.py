"""The controls take away from a detector and a tracker what they say, and nothing else."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from tiny_toy import TINY
from tiny_vot import frames_of, moving_square, vot_model

from stpn.engine.config_file import load_config
from stpn.engine.trainer import Trainer
from stpn.errors import InputError
from stpn.study import controls
from stpn.study.study_file import read_study


class Frames(list):
    """A reader of one sequence, as far as a tracker and the controls use it."""

    def __init__(self, name, items):
        super().__init__(items)
        self.name = name


class Loader(list):
    """Batches of one sample, as a test loader has them; its set as such a loader's."""

    @property
    def dataset(self):
        return [sample for batch in self for sample in batch]


def sequences(*lengths):
    """-> a loader."""
    found = Loader()
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


@pytest.mark.parametrize("control", [controls.prompts_of_another_target, controls.supports_of_another_video])
def test_a_set_of_one_video_has_no_other(control):
    with pytest.raises(InputError, match="the set has 1 videos.*at least 2"):
        control(vot_model(), sequences(8))


def test_the_other_video_is_of_the_whole_set_not_of_this_process(monkeypatch):
    """Of three videos a process that evaluates the last alone has it prompted by the second."""
    loader = sequences(6, 5, 7)
    samples, model = loader.dataset, vot_model()
    with torch.no_grad():
        _, own = told(model, samples)
        loader[:2] = []
        monkeypatch.setattr(Loader, "dataset", samples)
        controls.prompts_of_another_target(model, loader)
        _, given = told(model, samples[2:])
    assert torch.equal(given[0][-6], own[1][0])


def test_a_tracker_without_its_predictor_needs_no_support_and_tracks_on():
    loader = sequences(8)
    model = vot_model()
    with torch.no_grad():
        plain = model(loader[0])[0]
        controls.no_prompts(model, loader)
        found, given = told(model, loader[0])
    assert given == [[]] and not np.array_equal(found[0]["boxes"], plain["boxes"])


class Video:
    """A reader of one video, as far as a detector and the controls use it."""

    def __init__(self, name, length):
        self.name, self.length = name, length
        pictures = torch.Generator().manual_seed(length)
        self.items = [{"image": torch.randint(0, 256, (3, 64, 64), generator=pictures, dtype=torch.uint8), "height": 64,
                       "width": 64, "frame": SimpleNamespace(index=i)} for i in range(length)]

    def __iter__(self):
        return iter(self.items)

    def select(self, indices):
        return (self.items[i] for i in indices)


def detector(policy, name="stpn"):
    settings = {**TINY, "INPUT.SUPPORT.TEST_POLICY": policy, "INPUT.SUPPORT.FRAMES_PER_SIDE": 2}
    cfg = load_config(f"configs/toy/{name}.yaml", [part for pair in settings.items() for part in pair])
    torch.manual_seed(0)
    return Trainer.build_model(cfg).eval()


def prompts_of(model, indices, items):
    """Predicted from frames chosen and encoded here."""
    clip = torch.stack([items[i]["image"] for i in indices]).float()
    with torch.no_grad():
        maps = model.backbone((clip - model.pixel_mean) / model.pixel_std)["res5"].permute(0, 2, 3, 1)[None]
        return model.prompt_predictor(maps)


def assert_prompted(model, video, expected):
    """expected(t) -> the prompts of its frame t."""
    for t, (item, prompts) in enumerate(model.prompted(video)):
        assert item is video.items[t]
        for found, wanted in zip(prompts, expected(t), strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("policy", ["grid", "sliding", "spread", "causal"])
def test_a_detector_gets_the_support_frames_of_the_video_before_at_the_same_places(policy):
    """Or its last one, where it is shorter."""
    videos, model = [Video("a", 7), Video("b", 10)], detector(policy)
    sampler = model.sampler
    controls.supports_of_another_video(model, SimpleNamespace(dataset=[{"frames": video} for video in videos]))
    for video, other in (videos, videos[::-1]):
        assert_prompted(model, video, lambda t, length=video.length, items=other.items: prompts_of(
            model, [min(i, len(items) - 1) for i in sampler.test(t, length)], items))


@pytest.mark.parametrize("policy", ["grid", "spread"])
def test_a_detector_without_neighbours_has_prompts_of_each_frame_itself(policy):
    model, video = detector(policy), Video("a", 6)
    controls.own_frame_only(model, None)
    assert_prompted(model, video, lambda t: prompts_of(model, [t], video.items))


def test_a_detector_without_its_predictor_has_no_prompts():
    model, video = detector("grid"), Video("a", 4)
    controls.no_prompts(model, None)
    assert [prompts for _, prompts in model.prompted(video)] == [None] * 4


@pytest.mark.parametrize("name", ["stpn_selsa", "vot_stpn"])
def test_own_frame_is_refused_where_more_than_the_prompts_would_change(name, tmp_path):
    rows = [{"name": "r", "config": f"configs/toy/{name}.yaml"}]
    config = {"seeds": [0], "metrics": ["a/b"], "name": "s", "rows": rows}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({**config, "controls_of": "r"}))
    with pytest.raises(InputError, match="control own_frame does not fit.*another_video, no_prompts, learnt_prompts"):
        read_study(tmp_path / "s.yaml")
    model = vot_model() if name == "vot_stpn" else Trainer.build_model(load_config("configs/toy/stpn_selsa.yaml", []))
    with pytest.raises(InputError, match="choose other controls"):
        controls.own_frame_only(model, None)
