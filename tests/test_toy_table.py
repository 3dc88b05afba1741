"""The toy table's controls do to a trained model what their rows say, for both tasks."""

from types import SimpleNamespace

import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from load_script import ROOT, load_script

from stpn.data.builtin import register_all
from stpn.engine.checkpoint import export_safetensors
from stpn.engine.config_file import load_config

CONFIGS = {"vod": "stpn", "vis": "vis_stpn"}


class Video:
    """What controls see of a test video: name, length, items with the index of their frame."""

    def __init__(self, name, length):
        self.name, self.length = name, length
        self.items = [{"image": torch.full((3, 32, 32), 9 * i, dtype=torch.uint8), "height": 32, "width": 32,
                       "frame": SimpleNamespace(index=i), "of": name} for i in range(length)]

    def __iter__(self):
        return iter(self.items)


@pytest.fixture(scope="module")
def table():
    return load_script("projects/STPN/toy_table.py")


@pytest.fixture(params=CONFIGS)
def model(request):
    torch.manual_seed(0)
    return build_model(load_config(str(ROOT / f"configs/toy/{CONFIGS[request.param]}.yaml"))).eval()


def embedded(model, changes, videos):
    """-> (video, frame index) of every support frame that is embedded in a walk of the videos."""
    seen, embed = [], model._embed_frame
    model._embed_frame = lambda item: (seen.append((item["of"], item["frame"].index)), embed(item))[1]
    for change in changes:
        change(model, [[{"frames": video}] for video in videos])
    model([{"frames": video} for video in videos])
    return seen


def test_supports_of_another_video_are_those_of_the_video_before(table, model):
    videos = [Video("first", 4), Video("second", 7)]
    seen = embedded(model, [table.supports_of_another_video], videos)
    # Supports stand on multiples of 3; the first video is the shorter one, so its last frame stands for later ones.
    assert seen == [("second", 0), ("second", 3), ("first", 0), ("first", 3), ("first", 3)]


def test_without_a_change_supports_are_of_the_video_itself(model):
    assert embedded(model, [], [Video("first", 4)]) == [("first", 0), ("first", 3)]


def test_own_frame_is_the_only_support(table, model):
    assert embedded(model, [table.own_frame_only], [Video("first", 3)]) == [("first", 0), ("first", 1), ("first", 2)]
    assert model.sampler.test(2, 3) == [2]


def test_no_prompts_embeds_nothing(table, model):
    assert embedded(model, [table.no_prompts], [Video("first", 3)]) == []


def test_a_row_on_masks_has_ap_and_ap50_of_all_clean_and_deteriorated_frames(table, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    register_all()
    task = table.TASKS["vis"]
    task.write(tmp_path / task.folder, split="val", videos=1, seed=1)
    DatasetCatalog.get(task.dataset)
    model = build_model(load_config(str(ROOT / "configs/toy/vis_baseline.yaml")))
    export_safetensors(model.state_dict(), tmp_path / "random.safetensors", metadata={})
    found = table.evaluate(task, "baseline", str(tmp_path / "random.safetensors"), change=None, output=tmp_path)
    assert list(found) == ["AP", "AP50", "AP-clean", "AP50-clean", "AP-deteriorated", "AP50-deteriorated"]
    assert all(0 <= value <= 100 for value in found.values())
