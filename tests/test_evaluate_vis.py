"""evaluate.py on YouTube-VIS results: the figures that the evaluator gave, and the check of a submission."""

import json
import zipfile

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from load_script import load_script
from own_logging import own_logging
from tube_sets import content, random_set, result, tube

from stpn.data.builtin import ensure_registered
from stpn.errors import run_script
from stpn.evaluation.ytvis_results import write_results, write_submission

SCRIPT = "projects/STPN/evaluate.py"
NAME, HIDDEN = "ytvis_2019_val_sub", "ytvis_2019_val"
SIZE = (20, 30)


@pytest.fixture(scope="module", autouse=True)
def root(tmp_path_factory):
    """A val_sub with labels, and a val of videos 1 and 2 without. There are no pictures: none are needed."""
    root = tmp_path_factory.mktemp("datasets")
    (root / "ytvis_2019").mkdir()
    whole, _ = random_set(1)
    (root / "ytvis_2019/val_sub.json").write_text(json.dumps(whole))
    (root / "ytvis_2019/valid.json").write_text(json.dumps(content({1: (2, *SIZE), 2: (1, *SIZE)}, None)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(root))
        ensure_registered([NAME, HIDDEN])
        for name in (NAME, HIDDEN):
            DatasetCatalog.get(name)  # of this folder, whatever other tests have loaded
        yield root
    for name in (NAME, HIDDEN):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def evaluate(monkeypatch):
    """evaluate(*arguments) -> exit code. Whoever builds a torch module meanwhile fails."""
    script = load_script(SCRIPT)

    def no_model(self, *args, **kwargs):
        raise AssertionError(f"{type(self).__name__} was built")

    def run(*arguments):
        with own_logging(), monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
            patch.setattr(torch.nn.Module, "__init__", no_model)
            run_script(lambda: script.main(list(map(str, arguments))))
        return end.value.code

    return run


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """-> folder with what an evaluation with the model leaves."""
    from stpn.evaluation import YouTubeVISEvaluator

    folder, (whole, results) = tmp_path_factory.mktemp("saved"), random_set(1)
    evaluator = YouTubeVISEvaluator(NAME, output_folder=folder)
    numbers = MetadataCatalog.get(NAME).thing_dataset_id_to_contiguous_id
    for video in whole["videos"]:
        own = [r for r in results if r["video_id"] == video["id"]]
        sample = {"video_id": f"x/{video['id']}", "json_id": video["id"], **{k: video[k] for k in
                  ("length", "height", "width")}}
        evaluator.process([sample], [{
            "image_size": (video["height"], video["width"]), "pred_scores": [r["score"] for r in own],
            "pred_ids": [*range(len(own))],
            "pred_labels": [numbers[r["category_id"]] for r in own], "pred_masks": [r["segmentations"] for r in own]}])
    assert evaluator.evaluate()["segm"]["AP"] > 10
    return folder


@pytest.mark.parametrize("file", ["results.json", "results.zip"])
def test_the_figures_of_a_saved_run_come_out_to_the_last_bit_without_a_model(file, saved, evaluate, tmp_path, capsys):
    assert evaluate("--dataset", NAME, "--results", saved / file, "--output", tmp_path) == 0
    assert (tmp_path / "vis_metrics.json").read_bytes() == (saved / "vis_metrics.json").read_bytes()
    figures = json.loads((tmp_path / "vis_metrics.json").read_text())["results_percent"]["segm"]
    printed = capsys.readouterr().out
    assert f"{figures['AP']:.3f}" in printed and "copypaste: Task: segm" in printed and "no record" not in printed


def test_videos_without_a_record_are_counted_where_there_are_labels(saved, evaluate, tmp_path, capsys):
    records = json.loads((saved / "results.json").read_text())
    write_results(tmp_path / "results.json", [r for r in records if r["video_id"] != records[0]["video_id"]])
    assert evaluate("--dataset", NAME, "--results", tmp_path / "results.json") == 0
    assert "1 of 4 videos have no record; check that the file is whole" in capsys.readouterr().out
    assert evaluate("--dataset", NAME, "--results", tmp_path / "results.json", "--allow-empty-videos") == 0
    assert "have no record" not in capsys.readouterr().out


GOOD = [result(1, 2, 0.5, tube(SIZE, (1, 1, 3, 3), None)), result(2, 9, 0.5, tube(SIZE, (0, 0, 2, 2)))]


def test_a_submission_in_order_is_said_to_be(evaluate, tmp_path, capsys):
    write_results(tmp_path / "results.json", GOOD)
    write_submission(tmp_path / "results.zip", tmp_path / "results.json")
    for file in ("results.json", "results.zip"):
        assert evaluate("--dataset", HIDDEN, "--results", tmp_path / file) == 0
        assert f"2 records in order for {HIDDEN}, whose labels are hidden" in capsys.readouterr().out
    assert evaluate("--dataset", HIDDEN, "--results", tmp_path / "results.zip", "--output", tmp_path / "out") == 2
    assert "no figures to write; leave --output away" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_everything_wrong_with_a_submission_is_listed(evaluate, tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "results.zip", "w") as archive:
        archive.writestr("results.json", json.dumps([{**GOOD[0], "segmentations": [None]}]))
        archive.writestr("README", "")
    assert evaluate("--dataset", HIDDEN, "--results", tmp_path / "results.zip") == 2
    out, err = capsys.readouterr()
    for words in ("holds README; expected results.json and nothing else", "video 2 has no record",
                  "record 0: segmentations have 1 entries; expected 2, one per frame of video 1"):
        assert sum(words in line for line in out.splitlines()) == 1
    (line,) = err.strip().splitlines()
    assert line.startswith(f"error: {tmp_path / 'results.zip'}: holds README") and "3 problems, all listed" in line
    write_results(tmp_path / "results.json", GOOD[:1])
    assert evaluate("--dataset", HIDDEN, "--results", tmp_path / "results.json") == 2
    assert evaluate("--dataset", HIDDEN, "--results", tmp_path / "results.json", "--allow-empty-videos") == 0


def test_results_of_boxes_are_answered_with_what_was_expected(evaluate, tmp_path, capsys):
    (tmp_path / "a.json").write_text('[{"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "score": 0.5}]')
    assert evaluate("--dataset", NAME, "--results", tmp_path / "a.json") == 2
    assert "record 0: is {'image_id': 1" in (err := capsys.readouterr().err)
    assert ("expected an object with video_id, score, category_id, segmentations; this is a file of boxes: name a data "
            "set of that kind") in err


@pytest.mark.parametrize("option", [("--category-ids", "original"), ("--motion-table", "none"),
                                    ("--motion-convention", "mega")])
def test_options_of_boxes_are_refused_for_masks(option, saved, evaluate, capsys):
    assert evaluate("--dataset", NAME, "--results", saved / "results.json", *option) == 2
    assert f"{option[0]} is for boxes, but {NAME} has masks" in capsys.readouterr().err


def test_options_of_masks_are_refused_for_boxes(evaluate, capsys):
    assert evaluate("--dataset", "toy_vid_val", "--results", "a.json", "--allow-empty-videos") == 2
    assert "--allow-empty-videos is for masks, but toy_vid_val has boxes" in capsys.readouterr().err


def test_a_data_set_of_another_kind_is_refused(evaluate, capsys):
    DatasetCatalog.register("stpn_test_kind", list)
    MetadataCatalog.get("stpn_test_kind").set(evaluator_type="coco")
    assert evaluate("--dataset", "stpn_test_kind", "--results", "a.json") == 2
    assert "has evaluator_type 'coco'; expected one of imagenet_vid, ytvis, got10k" in capsys.readouterr().err
    DatasetCatalog.remove("stpn_test_kind")
    MetadataCatalog.remove("stpn_test_kind")


def test_the_figures_of_an_earlier_run_stay_unless_asked(saved, evaluate, tmp_path, capsys):
    (tmp_path / "vis_metrics.json").write_text("mine")
    arguments = ("--dataset", NAME, "--results", saved / "results.json", "--output", tmp_path)
    assert evaluate(*arguments) == 2 and (tmp_path / "vis_metrics.json").read_text() == "mine"
    assert evaluate(*arguments, "--overwrite") == 0
    assert (tmp_path / "vis_metrics.json").read_bytes() == (saved / "vis_metrics.json").read_bytes()
