"""The studies that come with the project: each can be read, and says what its figure or table is about."""

from pathlib import Path

import pytest
import torch

from stpn.engine.config_file import flatten_config
from stpn.engine.trainer import Trainer
from stpn.study.job import Job
from stpn.study.study_file import read_study

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "studies"
FILES = [path for path in sorted(FOLDER.rglob("*.yaml")) if path.parent.name != "base"]
# Of a study by its name: the key that its rows differ in, besides names of folders.
ONE_KEY = {"table5_stride": "INPUT.SUPPORT.STRIDE", "table5_frames": "INPUT.SUPPORT.FRAMES_PER_SIDE",
           "table5_prompts": "MODEL.STPN.NUM_PROMPTS"}


def told(study, row):
    cfg = flatten_config(Job(study, row, study.seeds[0], "nowhere").config())
    return {key: value for key, value in cfg.items() if key != "OUTPUT_DIR"}


def test_there_is_a_study_for_each_part_of_table_5_and_figures_4_and_5_on_both_sets():
    stems = {"table5_stride", "table5_frames", "table5_prompts", "figure4", "figure5"}
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {path.stem for path in FOLDER.glob("vid/*.yaml")} == stems


@pytest.mark.parametrize("path", [path for path in FILES if path.stem in ONE_KEY], ids=str)
def test_rows_of_table_5_differ_in_one_number_which_is_their_place_on_the_axis(path):
    study = read_study(path)
    rows = [row for row in study.rows if row.x is not None]
    main = told(study, next(row for row in rows if row.name in {r.weights_of for r in rows} or not row.weights_of))
    for row in rows:
        found = told(study, row)
        assert found[ONE_KEY[path.stem]] == row.x
        assert {key for key in main if main[key] != found[key]} <= {ONE_KEY[path.stem]}
    assert [row.baseline for row in study.rows].count(True) == 1


@pytest.mark.parametrize("path", [path for path in FILES if path.stem == "figure5"], ids=str)
def test_figure_5_has_shallow_and_deep_beside_a_baseline_that_differs_by_the_switch(path):
    study = read_study(path)
    for group in {row.group for row in study.rows}:
        rows = {row.series: told(study, row) for row in study.rows if row.group == group and not row.control}
        assert set(rows) == {"baseline", "shallow", "deep"}
        for one, other, keys in (("baseline", "shallow", {"MODEL.STPN.ENABLED"}),
                                 ("shallow", "deep", {"MODEL.STPN.DEEP"})):
            assert {key for key in rows[one] if rows[one][key] != rows[other][key]} - {"MODEL.WEIGHTS"} == keys


@pytest.mark.parametrize("path", [path for path in FILES if path.parent == FOLDER or path.stem == "figure4"], ids=str)
def test_every_row_describes_a_model_with_or_without_prompts(path):
    study = read_study(path)
    for row in study.rows:
        with torch.device("meta"):
            cfg = Job(study, row, study.seeds[0], "nowhere").config()
            cfg.merge_from_list(["MODEL.DEVICE", "meta"])
            model = Trainer.build_model(cfg)
        assert (model.prompt_predictor is None) == row.baseline
