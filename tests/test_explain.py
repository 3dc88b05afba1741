"""explain.py on a generated clip with the committed toy models, and the frames that it explains."""

import json
from pathlib import Path

import cv2
import pytest
import torch
from load_script import load_script

from stpn.data.source import open_source
from stpn.data.toy import render_video
from stpn.engine.config_file import load_config
from stpn.engine.predictor import VideoPredictor
from stpn.engine.readable_frames import ReadableFrames
from stpn.errors import InputError
from stpn.explain import explained_frames

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    for t, frame in enumerate(render_video(11, "val", 0).frames[:14]):
        cv2.imwrite(str(folder / f"{t:05d}.png"), frame[:, :, ::-1])
    return folder


@pytest.fixture(scope="module")
def predictor():
    torch.set_num_threads(1)
    return VideoPredictor(load_config(str(ROOT / "configs/toy/stpn.yaml")))


@pytest.mark.parametrize("policy", ["grid", "causal", "spread"])
def test_prompts_are_those_that_the_model_uses_and_pictures_those_of_the_supports(clip, predictor, policy):
    model = predictor.model
    sampler = model.sampler.with_policy(policy)
    with open_source(str(clip)) as source:
        frames = ReadableFrames(source, predictor._prepare, fields=())
        found = list(explained_frames(model, frames, [3, 9], sampler=sampler))
    with open_source(str(clip)) as source:
        used = dict(enumerate(model.prompted(ReadableFrames(source, predictor._prepare, fields=()), sampler)))
    with open_source(str(clip)) as source:
        pictures = [frame.image for frame in source]
    assert [frame.t for frame in found] == [3, 9]
    for frame in found:
        torch.testing.assert_close(frame.prompts[0], used[frame.t][1][0])
        assert all((image == pictures[i]).all() for i, image in zip(frame.indices, frame.images, strict=True))


def test_the_script_writes_its_sheets_and_numbers(clip, tmp_path, capsys):
    script = load_script("projects/STPN/explain.py")
    configs = [str(ROOT / f"configs/toy/{name}.yaml") for name in ("stpn", "baseline")]
    command = ["--config-file", configs[0], "--against", configs[1], "--input", str(clip), "--frames", "3", "11",
               "--output", str(tmp_path)]
    script.main(command)
    told = json.loads((tmp_path / "explain.json").read_text())
    assert [frame["frame"] for frame in told["frames"]] == [3, 11]
    assert [list(logit) for logit in told["frames"][1]["detection"]["logits"]] == [["against"], ["model"]]
    reads = told["prompts"]["prompt_reads_frame"]
    assert len(reads) == 5 and all(sum(prompt) == pytest.approx(1, abs=1e-4) for prompt in reads)
    assert told["prompts"]["support_frames"] == sorted(set(told["prompts"]["support_frames"]))
    for name in ("grad_cam", "support_reading", "prompt_reading"):
        assert cv2.imread(str(tmp_path / f"{name}.png")).std() > 10
    with pytest.raises(InputError, match="exists already"):
        script.main(command)


def test_frames_that_are_not_there_and_models_of_other_kinds_are_refused(clip, tmp_path):
    script = load_script("projects/STPN/explain.py")
    base = ["--input", str(clip), "--frames", "99", "--output", str(tmp_path)]
    with pytest.raises(InputError, match="no frame 99"):
        script.main(["--config-file", str(ROOT / "configs/toy/stpn.yaml"), *base])
    with pytest.raises(InputError, match="shows detectors"):
        script.main(["--config-file", str(ROOT / "configs/toy/vis_stpn.yaml"), *base])
