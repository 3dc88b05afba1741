"""YouTubeVISEvaluator from predictions to figures and files."""

import json
import math
import zipfile

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils import comm
from pycocotools import mask as coco_mask
from tube_sets import CATEGORIES, content, in_other_forms, random_set, rectangle, result, track, tube

from stpn.data.vis_sets import VIS_ENTRIES
from stpn.errors import InputError
from stpn.evaluation import YouTubeVISEvaluator, build_evaluator, vis
from stpn.evaluation.ytvis_ap import STATS, ytvis_ap

NAMES = [row["name"] for row in CATEGORIES]
NUMBERS = {row["id"]: number for number, row in enumerate(CATEGORIES)}
SIZE = (40, 50)


@pytest.fixture
def register(tmp_path, request):
    """register(content, **metadata) -> name of a data set of that file."""
    names = []

    def add(whole, **metadata):
        name = f"stpn_test_{request.node.name}_{len(names)}"
        (tmp_path / f"{name[-20:]}.json").write_text(json.dumps(whole))
        DatasetCatalog.register(name, lambda: [])
        MetadataCatalog.get(name).set(
            json_file=str(tmp_path / f"{name[-20:]}.json"), thing_classes=NAMES, evaluator_type="ytvis",
            thing_dataset_id_to_contiguous_id=NUMBERS, has_labels=whole.get("annotations") is not None, **metadata)
        names.append(name)
        return name

    yield add
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def as_pairs(whole, results):
    """-> [(sample, model's output)] of each video, as the test loader and the model give them."""
    pairs = []
    for video in whole["videos"]:
        own = sorted((r for r in results if r["video_id"] == video["id"]), key=lambda r: -r["score"])
        size = video["height"], video["width"]
        sample = {"video_id": f"set/{video['id']}", "json_id": video["id"], "length": video["length"],
                  "height": size[0], "width": size[1]}
        pairs.append((sample, {
            "image_size": size, "pred_scores": [r["score"] for r in own], "pred_ids": list(range(len(own))),
            "pred_labels": [NUMBERS[r["category_id"]] for r in own],
            "pred_masks": [r["segmentations"] for r in own]}))
    return pairs


def evaluate(name, pairs, **options):
    evaluator = YouTubeVISEvaluator(name, **options)
    evaluator.reset()
    for sample, output in pairs:
        evaluator.process([sample], [output])
    return evaluator.evaluate()


def small(annotations=True):
    """Videos 1 and 2 of three frames; a dog in each, in the first a cat as well. -> content, perfect results."""
    rows = [track(1, 1, 2, tube(SIZE, (0, 0, 9, 9), (2, 2, 9, 9), None)),
            track(2, 1, 5, tube(SIZE, None, (30, 9, 9, 9), (32, 9, 9, 9))),
            track(3, 2, 2, tube(SIZE, (5, 5, 20, 20), (5, 6, 20, 20), (5, 7, 20, 20)))]  # fmt: skip
    results = [result(r["video_id"], r["category_id"], 0.9, list(r["segmentations"])) for r in rows]
    return content({1: (3, *SIZE), 2: (3, *SIZE)}, rows if annotations else None), results


def test_perfect_predictions_score_100_and_absent_classes_are_undefined(register):
    whole, results = small()
    figures = evaluate(register(whole), as_pairs(whole, results))["segm"]
    assert list(figures) == [*STATS, "AP-dog", "AP-cat", "AP-cow"]
    defined = {name for name, value in figures.items() if value == pytest.approx(100)}
    assert defined == {"AP", "AP50", "AP75", "APs", "AR1", "AR10", "AR100", "ARs", "AP-dog", "AP-cat"}
    assert all(math.isnan(figures[name]) for name in ("APm", "APl", "AP-cow"))
    assert all(type(value) is float for value in figures.values())


def test_figures_are_those_of_the_metric_in_percent(register):
    whole, results = random_set(1, videos=6)
    figures = evaluate(register(in_other_forms(whole)), as_pairs(whole, results))["segm"]
    given = {"video_ids": [v["id"] for v in whole["videos"]], "category_ids": list(NUMBERS)}
    metric = ytvis_ap(whole["annotations"], sorted(results, key=lambda r: -r["score"]), **given)
    assert 10 < figures["AP"] < 99
    for name, value in zip(STATS, metric.stats):
        assert figures[name] == (value * 100 if value > -1 else pytest.approx(math.nan, nan_ok=True)), name
    assert figures["AP-cat"] == metric.of_category(5) * 100


def test_shards_of_two_processes_merge_to_the_same_figures_and_file(register, monkeypatch, tmp_path):
    whole, results = random_set(4)
    name, pairs = register(whole), as_pairs(whole, results)
    expected, shards = evaluate(name, pairs, output_folder=tmp_path / "one"), []
    for pick in ([3, 1], [0, 2]):
        evaluator = YouTubeVISEvaluator(name)
        for i in pick:
            evaluator.process([pairs[i][0]], [pairs[i][1]])
        monkeypatch.setattr(comm, "gather", lambda data, dst=0: shards.append(data) or [])
        monkeypatch.setattr(comm, "is_main_process", lambda: False)
        assert evaluator.evaluate() == {}
    monkeypatch.setattr(comm, "gather", lambda data, dst=0: shards)
    monkeypatch.setattr(comm, "is_main_process", lambda: True)
    found = YouTubeVISEvaluator(name, output_folder=tmp_path / "two").evaluate()
    assert found["segm"] == pytest.approx(expected["segm"], nan_ok=True, abs=0)
    for file in ("results.json", "results.zip", "vis_metrics.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_written_results_have_the_ids_of_the_file_and_give_the_same_figures(register, tmp_path):
    whole, results = random_set(5)
    whole["videos"].reverse()
    name = register(whole, frame_groups={"first": {v["id"]: [0] for v in whole["videos"]}})
    evaluate(name, as_pairs(whole, results), output_folder=tmp_path / "out")
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert all(type(row["track"]) is int for row in written)
    bare = [{name: row[name] for name in results[0]} for row in written]
    assert sorted(bare, key=lambda r: r["score"]) == sorted(results, key=lambda r: r["score"])
    with zipfile.ZipFile(tmp_path / "out" / "results.zip") as archive:
        assert json.loads(archive.read("results.json")) == written
    for file in ("results.json", "results.zip"):
        again = YouTubeVISEvaluator(name, output_folder=tmp_path / file[-4:])
        again.evaluate_file(tmp_path / "out" / file)
        assert (tmp_path / file[-4:] / "vis_metrics.json").read_bytes() == \
            (tmp_path / "out" / "vis_metrics.json").read_bytes()


def test_the_metrics_file_is_strict_json(register, tmp_path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    whole, results = small()
    evaluate(register(whole), as_pairs(whole, results), output_folder=tmp_path)
    metrics = json.loads((tmp_path / "vis_metrics.json").read_text(), parse_constant=refuse)
    assert metrics["results_percent"]["segm"]["APl"] is None
    assert (metrics["videos"], metrics["frames"], metrics["predictions"]) == (2, 6, 3)


def test_masks_as_bytes_and_scores_as_tensors_are_taken_as_well(register):
    """pycocotools.mask.encode gives bytes."""
    whole, results = small()
    pairs = as_pairs(whole, results)
    for _, output in pairs:
        output["pred_masks"] = [[s and {**s, "counts": s["counts"].encode()} for s in m] for m in output["pred_masks"]]
        output["pred_scores"] = torch.tensor(output["pred_scores"])
    assert evaluate(register(whole), pairs)["segm"]["AP"] == pytest.approx(100)


@pytest.mark.parametrize("annotations, expected", [(True, 0), (False, math.nan)])
def test_nothing_found_scores_0_and_nothing_to_find_is_undefined(annotations, expected, register, tmp_path):
    whole, results = small()
    if not annotations:
        whole["annotations"] = []
        assert all(map(math.isnan, evaluate(register(whole), as_pairs(whole, results))["segm"].values()))
    (tmp_path / "results.zip").write_text("of an earlier run")
    figures = evaluate(register(whole), as_pairs(whole, []), output_folder=tmp_path)["segm"]
    assert figures["AP"] == pytest.approx(expected, nan_ok=True) == pytest.approx(figures["AP-dog"], nan_ok=True)
    assert json.loads((tmp_path / "results.json").read_text()) == []
    assert not (tmp_path / "results.zip").exists()  # the servers cannot read an empty list


def test_the_file_of_a_model_that_finds_the_same_everywhere_reads_back(register, tmp_path):
    """Queries that have learnt nothing are all alike."""
    whole, results = small()
    name, pairs = register(whole), as_pairs(whole, results[:1] * 5)
    figures = evaluate(name, pairs, output_folder=tmp_path)
    again = YouTubeVISEvaluator(name).evaluate_file(tmp_path / "results.json")
    assert again["segm"] == pytest.approx(figures["segm"], nan_ok=True, abs=0)


def test_frame_groups_look_at_their_frames_only(register):
    """The cat is found in frame 2 alone: of its two frames in the whole (IoU 0.5), of its one in the group."""
    whole, results = small()
    results[1]["segmentations"][1] = None
    results[2]["segmentations"][0] = tube(SIZE, (30, 0, 9, 9))[0]  # the second dog is missed in its first frame
    groups = {"clean": {1: [2], 2: [1, 2]}, "deteriorated": {1: [0, 1], 2: [0]}, "none": {}}
    figures = evaluate(register(whole, frame_groups=groups), as_pairs(whole, results))["segm"]
    assert figures["AP-clean"] == pytest.approx(100) == figures["AP50-clean"]
    # Deteriorated: the first dog is found, the second not; nothing is left of what was found of the cat.
    assert figures["AP50-deteriorated"] == pytest.approx(100 * 51 / 101 / 2)
    assert math.isnan(figures["AP-none"])
    assert figures["AP50"] == pytest.approx(100) and figures["AP"] < 90


def test_frame_groups_equal_a_set_cut_down_to_these_frames(register):
    whole, results = random_set(6, videos=5)
    frames = {v["id"]: list(range(0, v["length"], 2)) for v in whole["videos"]}
    figures = evaluate(register(whole, frame_groups={"even": frames}), as_pairs(whole, results))["segm"]

    def cut(rows):
        names = {"segmentations", "areas"}
        rows = [{**r, **{n: [r[n][t] for t in frames[r["video_id"]]] for n in names & r.keys()}} for r in rows]
        return [r for r in rows if any(r["segmentations"])]

    sizes = {v["id"]: (len(frames[v["id"]]), v["height"], v["width"]) for v in whole["videos"]}
    part = content(sizes, cut(whole["annotations"]))
    expected = evaluate(register(part), as_pairs(part, cut(results)))["segm"]
    assert (figures["AP-even"], figures["AP50-even"]) == (expected["AP"], expected["AP50"])
    assert figures["AP"] != expected["AP"]


def test_a_group_named_like_a_class_is_refused_before_anything_runs(register):
    with pytest.raises(InputError, match="'dog'. name classes and frame groups"):
        YouTubeVISEvaluator(register(small()[0], frame_groups={"dog": {}}))


@pytest.mark.parametrize("in_file", [True, False])
def test_hidden_labels_give_results_and_say_what_to_do(in_file, register, tmp_path, caplog, monkeypatch):
    whole, results = small(annotations=in_file)
    name = register(whole)
    monkeypatch.setattr(vis, "SERVED", [name])
    if in_file:  # the registration knows better
        vars(MetadataCatalog.get(name))["has_labels"] = False
    assert evaluate(name, as_pairs(whole, results), output_folder=tmp_path / "out") == {}
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["results.json", "results.zip"]
    (message,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert message.startswith(f"NO FIGURES: the labels of {name} are hidden. ")
    assert f"For its AP upload {tmp_path / 'out' / 'results.zip'} to" in message
    assert "datasets/prepare_ytvis_split.py makes the sets *_train_sub and *_val_sub" in message
    evaluator = YouTubeVISEvaluator(name)
    assert evaluator.evaluate_file(tmp_path / "out" / "results.zip") == {}


@pytest.mark.parametrize("found", [True, False])
def test_without_labels_a_set_of_ones_own_is_sent_to_no_server(found, register, tmp_path, caplog):
    whole, results = small(annotations=False)
    name = register(whole)
    assert evaluate(name, as_pairs(whole, results if found else []), output_folder=tmp_path) == {}
    message = caplog.records[-1].message
    assert "add annotations to it" in message and MetadataCatalog.get(name).json_file in message
    assert ("results.json" in message) == found and "evaluation server" not in message and "train_sub" not in message


def test_sets_that_a_server_evaluates_are_known_to_the_registry():
    assert len(vis.SERVED) == 6 and set(vis.SERVED) < set(VIS_ENTRIES)


def test_a_video_in_which_nothing_was_found_is_legal(register, tmp_path, caplog):
    whole, results = small(annotations=False)
    name = register(whole)
    assert evaluate(name, as_pairs(whole, results[:2]), output_folder=tmp_path) == {}
    assert "nothing was found in 1 of 2 videos" in caplog.text
    with pytest.raises(InputError, match="video 2 has no record"):
        YouTubeVISEvaluator(name).evaluate_file(tmp_path / "results.zip")
    assert YouTubeVISEvaluator(name).evaluate_file(tmp_path / "results.zip", allow_empty_videos=True) == {}


def test_the_builder_knows_the_type(register, tmp_path):
    whole, results = small()
    evaluator = build_evaluator(None, register(whole), tmp_path)
    assert isinstance(evaluator, YouTubeVISEvaluator)
    evaluator.process(*zip(*as_pairs(whole, results)))
    assert evaluator.evaluate()["segm"]["AP50"] == pytest.approx(100) and (tmp_path / "vis_metrics.json").exists()


def test_metadata_may_come_with_the_first_load(tmp_path):
    whole, results = small()
    (tmp_path / "set.json").write_text(json.dumps(whole))
    name = "stpn_test_late_ytvis"
    late = {"thing_classes": NAMES, "thing_dataset_id_to_contiguous_id": NUMBERS, "has_labels": True,
            "json_file": str(tmp_path / "set.json")}
    DatasetCatalog.register(name, lambda: MetadataCatalog.get(name).set(**late) and [])
    assert evaluate(name, as_pairs(whole, results))["segm"]["AP"] == pytest.approx(100)
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def test_table_is_logged(register, caplog):
    whole, results = small()
    caplog.set_level("INFO", logger="stpn")
    evaluate(register(whole), as_pairs(whole, results))
    for words in ("YouTube-VIS mask AP (percent)", "YouTube-VIS mask AP per class", "| cat", "2 videos, 6 frames"):
        assert words in caplog.text


def test_reset_forgets_the_last_run(register):
    whole, results = small()
    evaluator = YouTubeVISEvaluator(register(whole))
    for _ in range(2):
        evaluator.reset()
        evaluator.process(*zip(*as_pairs(whole, results)))
        assert evaluator.evaluate()["segm"]["AP"] == pytest.approx(100)


# What is refused


@pytest.mark.parametrize("change, words", [
    ({"pred_scores": [0.9, math.nan]}, "track 1: score is nan; expected a finite number"),
    ({"pred_labels": [0, 3]}, r"track 1 has class 3; expected one in 0..2"),
    ({"pred_labels": [-1, 0]}, "track 0 has class -1"),
    ({"pred_scores": [0.9]}, "got 1 scores, 2 labels, 2 ids, 2 masks; expected as many of each"),
    ({"image_size": (50, 40)}, r"frame 0: the picture is of another size .*: got \(50, 40\), expected \(40, 50\)"),
    ({"pred_masks": [tube(SIZE, None, None), tube(SIZE, None, None, None)]},
     "track 0: segmentations have 2 entries; expected 3, one per frame of video 1"),
    ({"pred_masks": [tube(SIZE, None, None, None), tube((50, 40), None, (1, 1, 2, 2), None)]},
     r"frame 1: the picture is of another size than the annotation says: got \(50, 40\), expected \(40, 50\)"),
])  # fmt: skip
def test_a_prediction_that_cannot_be_used_is_named_at_once(change, words, register):
    whole, results = small()
    (first, *_), evaluator = as_pairs(whole, results)[::-1], YouTubeVISEvaluator(register(whole))
    evaluator.process([first[0]], [first[1]])
    sample, output = as_pairs(whole, results)[0]
    with pytest.raises(InputError, match=f"record 1: video set/1(, |: ){words}") as error:
        evaluator.process([sample], [{**output, **change}])
    assert ("check the weights for NaN" in str(error.value)) == ("score is nan" in words)


def test_all_videos_that_are_missing_unknown_or_twice_are_listed(register, caplog, tmp_path):
    whole, results = small()
    name, (one, two) = register(whole), as_pairs(whole, results)
    unknown, shorter = {**two[0], "json_id": 8}, ({**two[0], "height": 41}, {**two[1], "image_size": (41, 50)})
    nothing = {"pred_masks": [], "pred_labels": [], "pred_scores": [], "pred_ids": []}
    shorter[1].update(nothing)
    with pytest.raises(InputError, match=r"record 1: video set/1 \(id 1\) was predicted already by record 0; .*3 prob"):
        evaluate(name, [one, one, (unknown, {**two[1], **nothing})], output_folder=tmp_path / "out")
    listed = [record.message.removeprefix(f"{name}: ") for record in caplog.records]
    assert listed[1].startswith("record 2: video set/2 (id 8) is unknown")
    assert listed[2] == "video id 2 was not predicted; predict every video"
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"\(id 2\) was predicted as Video\(.*height=41, .* has Video\(.*height=40"):
        evaluate(name, [one, shorter])


def test_categories_that_differ_from_the_registration_are_refused(register):
    whole, results = small()
    whole["categories"] = [*CATEGORIES, {"id": 11, "name": "owl"}]
    with pytest.raises(InputError, match=r"has categories \[2, 5, 9, 11\], the data set .* \[2, 5, 9\]"):
        evaluate(register(whole), as_pairs(whole, results))


def test_records_hold_run_lengths_only(register):
    """Four tracks of 3 frames of 40 x 50 pixels would be 24,000 bytes as arrays."""
    whole, _ = small()
    evaluator = YouTubeVISEvaluator(register(whole))
    masks = [coco_mask.encode(np.asfortranarray(rectangle(SIZE, 1, 1, 9, 9), np.uint8))] * 3
    sample, output = as_pairs(whole, [])[0]
    output.update(pred_masks=[masks] * 4, pred_labels=[0] * 4, pred_scores=[0.5] * 4, pred_ids=[*range(4)])
    evaluator.process([sample], [output])
    (record,) = evaluator._records
    assert all(type(value) in (int, float, list) for r in record.results for value in r.values())
    assert len(json.dumps(record.results)) < 2_000
