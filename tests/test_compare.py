"""compare.py and the labels it shows, on generated videos with the committed toy models."""

import json
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from load_script import load_script

from stpn.config import class_count
from stpn.data.builtin import ensure_registered
from stpn.data.toy import render_video
from stpn.data.toy_got10k import write_toy_got10k
from stpn.data.toy_layout import write_toy
from stpn.data.toy_ytvis import write_toy_ytvis
from stpn.engine.config_file import load_config
from stpn.errors import InputError
from stpn.explain.truth import check_labels, labelled_video

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module", autouse=True)
def datasets(tmp_path_factory):
    root = tmp_path_factory.mktemp("datasets")
    for name, write in (("toy_vid", write_toy), ("toy_ytvis", write_toy_ytvis), ("toy_got10k", write_toy_got10k)):
        write(root / name, split="val", videos=1, seed=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(root))
        yield root


def frames_of(parts):
    """["3-5", "9"] -> [3, 4, 5, 9]"""
    ends = [[int(end) for end in part.split("-")] for part in parts]
    return [t for end in ends for t in range(end[0], end[-1] + 1)]


def only_video(name):
    ensure_registered([name])
    DatasetCatalog.get(name)
    return next(iter(MetadataCatalog.get(name).video_index))


@pytest.mark.parametrize("name", ["toy_vid_val", "toy_ytvis_val"])
def test_labels_of_boxes_and_masks_are_those_that_were_drawn(name):
    video, (source, truth, starts) = render_video(5, "val", 0), labelled_video(name, only_video(name))
    assert starts is None and source.length == len(video.frames) == len(truth)
    for t, found in truth.items():
        assert found.pred_classes.tolist() == [label for _, label, *_ in video.boxes[t]]
        if found.has("pred_masks"):
            assert all((found.pred_masks[i].numpy() == mask).all() for i, mask in enumerate(video.masks(t)))
        else:
            drawn = np.array([box for _, _, *box in video.boxes[t]]) + (0, 0, 1, 1)
            np.testing.assert_allclose(found.pred_boxes.tensor.numpy(), drawn, atol=1.01)  # inclusive corners


def test_labels_of_a_target_are_those_of_its_files(datasets):
    video_id = only_video("toy_got10k_val")
    source, truth, (start,) = labelled_video("toy_got10k_val", video_id.rsplit("/", 1)[-1])
    folder = next((datasets / "toy_got10k" / "val").glob("*/groundtruth.txt")).parent
    rows = np.loadtxt(folder / "groundtruth.txt", delimiter=",")
    absent = np.loadtxt(folder / "absence.label").astype(bool)
    assert start == rows[0].tolist() and source.length == len(rows)
    assert sorted(truth) == np.flatnonzero(~absent & (rows[:, 2:] > 0).all(1)).tolist()
    for t, found in truth.items():
        x, y, w, h = rows[t]
        np.testing.assert_allclose(found.pred_boxes.tensor[0].numpy(), [x, y, x + w, y + h], rtol=1e-5)


def test_the_script_draws_labels_and_both_models_and_lists_where_they_differ(tmp_path, capsys):
    script = load_script("projects/STPN/compare.py")
    toy = [str(ROOT / f"configs/toy/{name}.yaml") for name in ("stpn", "baseline")]
    script.main(["--config-file", toy[0], "--against", toy[1], "--dataset", "toy_vid_val", "--video",
                 only_video("toy_vid_val"), "--output", str(tmp_path)])
    lines = [json.loads(line) for path in tmp_path.glob("*.jsonl") for line in path.read_text().splitlines()]
    said = capsys.readouterr().out
    assert f"32 frames, {len(lines)} in which the two differ" in said and len(said.splitlines()) < 30
    (counted,) = (json.loads(path.read_text()) for path in tmp_path.glob("*.json"))
    assert counted["frames_that_differ"] == len(lines)
    for side in ("against", "model"):
        assert counted[side]["alone"] == sum(len(line[f"{side}_alone"]) for line in lines)
        assert counted[side]["labels_alone"] == sum(len(line[f"labels_by_{side}_alone"]) for line in lines)
        assert str(counted[side]["labels_found"]) in said
        assert frames_of(counted[side]["frames"]) == [line["index"] for line in lines if line[f"{side}_alone"]]
        assert frames_of(counted[side]["label_frames"]) == [
            line["index"] for line in lines if line[f"labels_by_{side}_alone"]]
    for line in lines:
        assert any(line[key] for key in ("against_alone", "model_alone", "labels_by_against_alone",
                                         "labels_by_model_alone"))
    (video,) = tmp_path.glob("*.mp4")
    with av.open(str(video)) as container:
        sizes = {(frame.width, frame.height) for frame in container.decode(video=0)}
    assert sizes == {(3 * (3 * 96 + 4), 3 * 96 + 18)}  # enlarged, titles above


def test_trackers_without_scores_are_compared_with_the_labels_of_their_target(tmp_path, capsys):
    """A score that is not known is null in the list, which is strict JSON."""
    script = load_script("projects/STPN/compare.py")
    toy = [str(ROOT / f"configs/toy/vot_{name}.yaml") for name in ("stpn", "baseline")]
    video, weights = only_video("toy_got10k_val"), str(ROOT / "projects/STPN/weights/toy_vot_baseline.safetensors")
    script.main(["--config-file", toy[0], "--against", toy[1], "--against-weights", weights, "--dataset",
                 "toy_got10k_val", "--video", video, "--output", str(tmp_path), "MODEL.MIXFORMER.SCORE_HEAD", "False"])
    (counted,) = (json.loads(path.read_text()) for path in tmp_path.glob("*.json"))
    lines = [json.loads(line) for path in tmp_path.glob("*.jsonl") for line in path.read_text().splitlines()]
    labelled = labelled_video("toy_got10k_val", video)[1]
    assert counted["labels"] == len(labelled) < counted["frames"]  # the target is covered for a while
    differ = set(frames_of(counted["against"]["frames"]))
    assert differ - labelled.keys() and set(frames_of(counted["against"]["label_frames"])) <= differ & labelled.keys()
    assert 0 < counted["against"]["labels_alone"] and lines  # the other has random weights
    assert {one["score"] for line in lines for one in line["against_alone"]} == {None}


@pytest.mark.parametrize(("size", "factor", "title"), [((40, 50), 5, 18), ((30, 240), 1, 18), ((30, 960), 1, 36)])
def test_what_is_found_lies_where_it_is_in_the_enlarged_frame(size, factor, title):
    script, image = load_script("projects/STPN/compare.py"), np.zeros((*size, 3), np.uint8)
    masks = torch.zeros(1, *size, dtype=torch.bool)
    masks[0, 20:28, 30:45] = True
    found = Instances(size, pred_boxes=Boxes(torch.tensor([[30.0, 20, 45, 28]])), scores=torch.tensor([0.9]),
                      pred_classes=torch.tensor([0]), pred_masks=masks, pred_ids=torch.tensor([0]))
    picture = script.side_by_side(image, {"one": found, "two": found[:0]}, ["a"])
    h, w = factor * size[0], factor * size[1]
    assert picture.shape == (title + h, 2 * (w + 4), 3)
    assert not picture[title:, w + 4:2 * w + 4].any() and picture[:title].mean() > 200
    colored = picture[title:, :w].max(2) - picture[title:, :w].min(2) > 20
    expected = masks[0].numpy().repeat(factor, 0).repeat(factor, 1)
    assert colored[~expected].mean() < 0.05 and colored[expected].mean() > 0.9  # the label is above


def test_labels_of_other_classes_or_tasks_are_refused():
    cfg = load_config(str(ROOT / "configs/toy/baseline.yaml"))
    only_video("toy_vid_val"), only_video("toy_ytvis_val"), only_video("toy_got10k_val")
    names = list(MetadataCatalog.get("toy_vid_val").thing_classes)
    check_labels("toy_vid_val", cfg, names, class_count(cfg))
    check_labels("toy_vid_val", cfg, [f"class {i}" for i in range(len(names))], class_count(cfg))
    with pytest.raises(InputError, match="toy_vid_val has 8 classes .* is 30; give .* 8 and weights"):
        check_labels("toy_vid_val", cfg, ["x"] * 30, ("MODEL.ROI_HEADS.NUM_CLASSES", 30))
    with pytest.raises(InputError, match="the model and toy_vid_val have different class tables .*another order"):
        check_labels("toy_vid_val", cfg, names[::-1], class_count(cfg))
    with pytest.raises(InputError, match="toy_ytvis_val has masks"):
        check_labels("toy_ytvis_val", cfg, names, class_count(cfg))
    tracker = load_config(str(ROOT / "configs/toy/vot_baseline.yaml"))
    check_labels("toy_got10k_val", tracker, ["target"], class_count(tracker))


@pytest.mark.parametrize("given", [5, -0.1, float("nan"), None])
def test_thresholds_that_are_no_scores_are_refused_and_of_a_tracker_all(given):
    script, detector, tracker = load_script("projects/STPN/compare.py"), object(), SimpleNamespace(tracker=None)
    if given is None:
        assert script.threshold_of(SimpleNamespace(score_threshold=None), detector) == 0.5
        assert script.threshold_of(SimpleNamespace(score_threshold=None), tracker) is None
        assert [script.threshold_of(SimpleNamespace(score_threshold=s), detector) for s in (0, 1.0)] == [0, 1]
        given = 0.4
    else:
        with pytest.raises(InputError, match="expected a score of 0 to 1"):
            script.threshold_of(SimpleNamespace(score_threshold=given), detector)
    with pytest.raises(InputError, match="not for trackers"):
        script.threshold_of(SimpleNamespace(score_threshold=given), tracker)


def test_models_of_two_tasks_and_videos_that_are_not_there_are_refused(tmp_path):
    script = load_script("projects/STPN/compare.py")
    toy = {name: str(ROOT / f"configs/toy/{name}.yaml") for name in ("stpn", "baseline", "vis_baseline")}
    with pytest.raises(InputError, match="one task"):
        script.main(["--config-file", toy["stpn"], "--against", toy["vis_baseline"], "--input", "x", "--output",
                     str(tmp_path)])
    base = ["--config-file", toy["stpn"], "--against", toy["baseline"], "--output", str(tmp_path)]
    with pytest.raises(InputError, match="--init is for trackers"):
        script.main([*base, "--init", "-1,2,30,40", "--dataset", "toy_vid_val", "--video", only_video("toy_vid_val")])
    with pytest.raises(InputError, match="has 0 videos 'nothing'"):
        script.main([*base, "--dataset", "toy_vid_val", "--video", "nothing"])
    with pytest.raises(InputError, match="either --input"):
        script.main(base)
