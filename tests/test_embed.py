"""embed.py on a tiny toy set with the committed models."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from load_script import load_script
from sklearn.metrics import silhouette_score
from tiny_toy import toy_sets

from stpn.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
MODELS = ["--config-file", str(ROOT / "configs/toy/stpn.yaml"), "--against", str(ROOT / "configs/toy/baseline.yaml"),
          "--dataset", "toy_vid_val"]


@pytest.fixture(scope="module")
def script():
    return load_script("projects/STPN/embed.py")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    with toy_sets(tmp_path_factory.mktemp("toy"), train=1, val=6) as root:
        yield root


def test_picture_and_numbers_are_of_the_same_objects_in_both_models(script, sets, tmp_path, capsys):
    command = [*MODELS, "--frames-per-video", "6", "--output", str(tmp_path), "--split-by", "clean,deteriorated"]
    script.main(command)
    told = json.loads((tmp_path / "embed.json").read_text())
    printed = capsys.readouterr().out
    lines, numbers = told["objects"], told["silhouettes"]
    assert (told["against"], told["model"]) == ("baseline", "stpn")
    assert len({(line["video"], line["frame"], *line["box"]) for line in lines}) == len(lines)
    assert len({(line["video"], line["frame"]) for line in lines}) == 36
    for group, found in numbers.items():
        inside = [line for line in lines if group in line["groups"]]
        assert len(inside) == found["objects"] and f"{found['model']:.3f}" in printed
        for i, model in enumerate(("against", "model")):
            plane = silhouette_score(np.array([line[model] for line in inside]), [line["label"] for line in inside])
            assert found["in_map"][i] == pytest.approx(plane, abs=1e-5)
    assert numbers["all"]["interval"][0] <= numbers["all"]["difference"] <= numbers["all"]["interval"][1]
    picture = cv2.imread(str(tmp_path / "embed.png"))
    assert picture.shape[1] == 1350 and picture.std() > 10
    with pytest.raises(InputError, match="exists already"):
        script.main(command)


def test_a_map_comes_out_the_same_again_and_its_perplexity_is_checked(script):
    features = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    first, again = (script.map_of(features, perplexity=None, seed=1) for _ in range(2))
    assert first.shape == (40, 2) and (first == again).all()
    assert not np.allclose(first, script.map_of(features, perplexity=5, seed=1))
    with pytest.raises(InputError, match="below 40"):
        script.map_of(features, perplexity=40, seed=0)


def test_too_few_objects_and_segmenters_are_refused(script, sets, tmp_path):
    with pytest.raises(InputError, match="a map needs at least 10"):
        script.main([*MODELS, "--videos", "1", "--frames-per-video", "1", "--output", str(tmp_path)])
    segmenter = [str(ROOT / "configs/toy/vis_stpn.yaml") if part.endswith("/stpn.yaml") else part for part in MODELS]
    with pytest.raises(InputError, match="VideoInstanceSegmenter has not got one box head"):
        script.main([*segmenter, "--videos", "1", "--frames-per-video", "1", "--output", str(tmp_path)])
