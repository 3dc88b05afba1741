"""ImageNetVIDEvaluator from predictions to figures and files."""

import contextlib
import io
import json
import math

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, BoxMode, Instances
from detectron2.utils import comm
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.io import savemat

from stpn.errors import InputError
from stpn.evaluation import ImageNetVIDEvaluator, build_evaluator

NAME = "stpn_test_evaluator"
VIDEOS = {"val/a": 4, "val/b": 3, "val/c": 5}  # video id: length
UNLABELLED = ("val/b", 1)


def make_dicts():
    """12 frames but one labelled; track 0 of class 0 stands still, track 1 of class 1 jumps; one frame is
    empty."""
    dicts = []
    for video_id, length in VIDEOS.items():
        for t in range(length):
            still, jump = [10, 10, 60, 60], [20 * (t % 2) + 70, 10, 20 * (t % 2) + 99, 39]
            boxes = [] if (video_id, t) == ("val/c", 2) else [(0, still), (1, jump)]
            annotations = [
                {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": c, "track_id": c, "iscrowd": 0}
                for c, box in boxes
            ]
            if (video_id, t) != UNLABELLED:
                dicts.append({
                    "image_id": len(dicts) + 1, "height": 120, "width": 160, "video_id": video_id,
                    "frame_index": t, "video_length": length, "annotations": annotations,
                })  # fmt: skip
    return dicts


@pytest.fixture
def dataset():
    """Registers the set, gives its dicts (a test may edit them before evaluation) and removes it."""
    dicts = make_dicts()
    DatasetCatalog.register(NAME, lambda: dicts)
    MetadataCatalog.get(NAME).set(thing_classes=["dog", "cat"], evaluator_type="imagenet_vid")
    yield dicts
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def instances(boxes, labels, scores):
    result = Instances((120, 160))
    result.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    result.pred_classes = torch.tensor(labels, dtype=torch.int64)
    result.scores = torch.tensor(scores, dtype=torch.float32)
    return result


def samples(dicts):
    """One sample per video, as the test loader gives it."""
    ids = {(d["video_id"], d["frame_index"]): d["image_id"] for d in dicts}
    return [{"video_id": v, "image_ids": [ids.get((v, t)) for t in range(n)]} for v, n in VIDEOS.items()]


def predict(dicts, *, noise=0.0, keep=1.0):
    """-> per video, per frame Instances: the ground truth, moved by `noise` pixels, some of it left out."""
    rng = np.random.default_rng(0)
    truth = {(d["video_id"], d["frame_index"]): d["annotations"] for d in dicts}
    outputs = []
    for video_id, length in VIDEOS.items():
        outputs.append([])
        for t in range(length):
            kept = [a for a in truth.get((video_id, t), []) if rng.random() < keep]
            boxes = [
                (np.array(a["bbox"]) + rng.normal(0, noise, 4)).tolist() if noise else a["bbox"] for a in kept
            ]
            outputs[-1].append(
                instances(boxes, [a["category_id"] for a in kept], rng.random(len(kept)).tolist())
            )
    return outputs


def evaluate(dicts, outputs, **options):
    evaluator = ImageNetVIDEvaluator(NAME, **options)
    evaluator.reset()
    for sample, output in zip(samples(dicts), outputs, strict=True):
        evaluator.process([sample], [output])
    return evaluator.evaluate()


def assert_same(results, others):
    for task in results:
        for name, value in results[task].items():
            assert others[task][name] == pytest.approx(value, abs=1e-9, nan_ok=True), (task, name)


def test_perfect_predictions_score_100(dataset):
    results = evaluate(dataset, predict(dataset))
    for name in ("AP", "AP50", "AP75", "AP-dog", "AP-cat"):
        assert results["bbox"][name] == pytest.approx(100)
    assert results["vid_mega"]["AP50"] == pytest.approx(100)
    # The still track is slow; the other alternates between IoU 1 and 1/5: below 0.7 everywhere.
    assert results["vid_mega"]["AP50-slow"] == results["vid_mega"]["AP50-fast"] == pytest.approx(100)
    assert math.isnan(results["vid_mega"]["AP50-medium"])
    assert all(isinstance(value, float) for figures in results.values() for value in figures.values())


@pytest.mark.parametrize("convention", ["mega", "fgfa"])
def test_config_chooses_the_convention_and_the_key_names_it(convention, dataset):
    cfg = CfgNode({"TEST": {"MOTION_CONVENTION": convention}})
    evaluator = build_evaluator(cfg, NAME, None)
    for sample, output in zip(samples(dataset), predict(dataset), strict=True):
        evaluator.process([sample], [output])
    assert list(evaluator.evaluate()) == ["bbox", f"vid_{convention}"]


def test_unknown_names_are_refused_with_the_known_ones(dataset):
    with pytest.raises(InputError, match="expected one of fgfa, mega"):
        ImageNetVIDEvaluator(NAME, motion_convention="voc")
    MetadataCatalog.get("stpn_test_no_type").set(thing_classes=["dog"])
    with pytest.raises(KeyError, match="known are .*imagenet_vid"):
        build_evaluator(None, "stpn_test_no_type", None)
    MetadataCatalog.remove("stpn_test_no_type")


def test_shards_of_two_processes_merge_to_the_same_figures(dataset, monkeypatch):
    outputs = predict(dataset, noise=4, keep=0.8)
    whole = evaluate(dataset, outputs)
    shards = []
    for pick in ([2], [0, 1]):  # three videos over two processes
        evaluator = ImageNetVIDEvaluator(NAME)
        for i in pick:
            evaluator.process([samples(dataset)[i]], [outputs[i]])
        monkeypatch.setattr(comm, "gather", lambda data, dst=0: shards.append(data) or [])
        monkeypatch.setattr(comm, "is_main_process", lambda: False)
        assert evaluator.evaluate() == {}
    monkeypatch.setattr(comm, "gather", lambda data, dst=0: shards)
    monkeypatch.setattr(comm, "is_main_process", lambda: True)
    assert_same(whole, ImageNetVIDEvaluator(NAME).evaluate())
    shards.reverse()
    assert_same(whole, ImageNetVIDEvaluator(NAME).evaluate())


def test_order_of_tied_detections_in_a_frame_does_not_matter(dataset):
    boxes = [[10, 10, 60, 60], [12, 10, 60, 60], [90, 10, 140, 60]]
    first, second = predict(dataset), predict(dataset)
    first[0][0] = instances(boxes, [0, 0, 0], [0.5] * 3)
    second[0][0] = instances(boxes[::-1], [0, 0, 0], [0.5] * 3)
    assert_same(evaluate(dataset, first), evaluate(dataset, second))


def test_one_missing_frame_is_named(dataset):
    evaluator = ImageNetVIDEvaluator(NAME)
    for sample, output in list(zip(samples(dataset), predict(dataset), strict=True))[:2]:
        evaluator.process([sample], [output])
    with pytest.raises(InputError, match=r"5 of 11 labelled frames .* first val/c frame 0 \(image id 7\)"):
        evaluator.evaluate()


def test_second_prediction_of_a_video_is_named(dataset):
    doubled = [*zip(samples(dataset), predict(dataset), strict=True)]
    evaluator = ImageNetVIDEvaluator(NAME)
    for sample, output in [*doubled, doubled[1]]:
        evaluator.process([sample], [output])
    with pytest.raises(InputError, match=r"record 3: val/b frame 0 \(image id 5\) .* already by record 1"):
        evaluator.evaluate()


@pytest.mark.parametrize("change, words", [
    ({"image_ids": [99, 2, 3, 4]}, r"record 0: video val/a frame 0 \(image id 99\) is unknown: .* no such"),
    ({"image_ids": [5, 2, 3, 4]}, r"image id 5\) is unknown: that image id is val/b frame 0"),
    ({"image_ids": [2, 1, 3, 4]}, r"frame 0 \(image id 2\) is unknown: that image id is val/a frame 1"),
    ({"video_id": "val/z"}, r"video val/z frame 0 \(image id 1\) is unknown"),
])  # fmt: skip
def test_prediction_for_an_unknown_frame_is_named(change, words, dataset):
    evaluator = ImageNetVIDEvaluator(NAME)
    for i, (sample, output) in enumerate(zip(samples(dataset), predict(dataset), strict=True)):
        evaluator.process([sample | change if i == 0 else sample], [output])
    with pytest.raises(InputError, match=words):
        evaluator.evaluate()


@pytest.mark.parametrize("bad", [
    instances([[1, 1, 5, 5], [1, 1, 5, 5]], [0, 1], [0.5, math.nan]),
    instances([[1, 1, 5, 5], [1, 1, math.inf, 5]], [0, 1], [0.5, 0.4]),
    instances([[1, 1, 5, 5], [1, 1, 5, 5]], [0, 2], [0.5, 0.4]),
], ids=["score", "box", "class"])  # fmt: skip
def test_nan_score_box_or_unknown_class_is_named_at_once(bad, dataset):
    outputs = predict(dataset)
    outputs[0][2] = bad
    with pytest.raises(InputError, match=r"record 0: video val/a frame 2 \(image id 3\): detection 1 has"):
        ImageNetVIDEvaluator(NAME).process(samples(dataset)[:1], outputs[:1])


def test_one_frame_less_than_the_video_is_named(dataset):
    with pytest.raises(InputError, match="record 0: video val/a: got predictions for 3 frames, expected 4"):
        ImageNetVIDEvaluator(NAME).process(samples(dataset)[:1], [predict(dataset)[0][:3]])


def test_no_predictions_score_zero(dataset):
    nothing = [[instances([], [], []) for _ in frames] for frames in predict(dataset)]
    results = evaluate(dataset, nothing)
    assert results["bbox"]["AP"] == results["vid_mega"]["AP50"] == results["bbox"]["AP-dog"] == 0


@pytest.mark.parametrize("predicted", [True, False])
def test_no_ground_truth_is_undefined(predicted, dataset):
    outputs = predict(dataset, keep=float(predicted))
    for d in dataset:
        d["annotations"] = []
    results = evaluate(dataset, outputs)
    assert all(math.isnan(value) for figures in results.values() for value in figures.values())


def test_frame_groups_get_their_own_figures(dataset):
    """All but video a are predicted empty: its frames form the clean group."""
    groups = {"clean": [1, 2, 3, 4], "deteriorated": list(range(5, 12))}
    MetadataCatalog.get(NAME).set(frame_groups=groups)
    outputs = predict(dataset)
    outputs[1:] = [[instances([], [], []) for _ in frames] for frames in outputs[1:]]
    bbox = evaluate(dataset, outputs)["bbox"]
    assert bbox["AP50-clean"] == bbox["AP-clean"] == pytest.approx(100)
    assert bbox["AP50-deteriorated"] == bbox["AP-deteriorated"] == 0
    assert 0 < bbox["AP50"] < 100


def test_a_group_named_like_a_class_is_refused(dataset):
    MetadataCatalog.get(NAME).set(frame_groups={"dog": [1]})
    with pytest.raises(InputError, match="'dog'. name classes and frame groups"):
        evaluate(dataset, predict(dataset))


def test_metadata_may_come_with_the_first_load(dataset):
    """Real sets learn their classes from their folder, when they are first read."""
    MetadataCatalog.remove(NAME)
    metadata = MetadataCatalog.get(NAME)
    DatasetCatalog.remove(NAME)
    DatasetCatalog.register(NAME, lambda: metadata.set(thing_classes=["dog", "cat"]) and dataset)
    assert evaluate(dataset, predict(dataset))["bbox"]["AP-cat"] == pytest.approx(100)


def test_motion_file_overrides_the_tracks(dataset, tmp_path):
    cells = np.empty((len(dataset), 1), dtype=object)
    for d in dataset:
        cells[d["image_id"] - 1, 0] = np.full((len(d["annotations"]), 1), 0.8)
    savemat(tmp_path / "motion.mat", {"motion_iou": cells})
    MetadataCatalog.get(NAME).set(motion_iou_file=str(tmp_path / "motion.mat"))
    vid = evaluate(dataset, predict(dataset))["vid_mega"]
    assert vid["AP50-medium"] == pytest.approx(100)
    assert math.isnan(vid["AP50-slow"]) and math.isnan(vid["AP50-fast"])


def test_a_motion_table_may_be_named_or_left_aside(dataset, tmp_path):
    """The set's own table says medium for all boxes, the named one fast; the tracks say slow and fast."""
    for name, motion in (("own", 0.8), ("named", 0.1)):
        cells = np.empty((len(dataset), 1), dtype=object)
        for d in dataset:
            cells[d["image_id"] - 1, 0] = np.full((len(d["annotations"]), 1), motion)
        savemat(tmp_path / f"{name}.mat", {"motion_iou": cells})
    tracks = evaluate(dataset, predict(dataset))["vid_mega"]
    MetadataCatalog.get(NAME).set(motion_iou_file=str(tmp_path / "own.mat"))
    defined = {}
    for table in (None, str(tmp_path / "named.mat"), "none"):
        vid = evaluate(dataset, predict(dataset), motion_table=table, output_folder=tmp_path)["vid_mega"]
        defined[table] = {name for name, value in vid.items() if not math.isnan(value)} - {"AP50"}
    assert list(defined.values()) == [{"AP50-medium"}, {"AP50-fast"}, {"AP50-slow", "AP50-fast"}]
    assert vid == pytest.approx(tracks, nan_ok=True)
    assert json.loads((tmp_path / "vid_metrics.json").read_text())["motion_iou"] == "computed from the tracks"


@pytest.mark.parametrize("track", [{}, {"track_id": None}, {"track_id": -1}])
def test_boxes_without_tracks_have_no_motion_and_say_so(track, dataset, caplog):
    first = dataset[0]["annotations"][0]
    del first["track_id"]
    first.update(track)
    vid = evaluate(dataset, predict(dataset))["vid_mega"]
    assert vid["AP50"] == pytest.approx(100) and math.isnan(vid["AP50-slow"])
    assert "without track_id" in caplog.text


@pytest.mark.parametrize("change, words", [
    ({"iscrowd": 1}, "val/a frame 0 .image id 1. has a crowd region"),
    ({"category_id": 2}, r"val/a frame 0 .* of category 2; expected finite corners and a category in 0..1"),
    ({"bbox": [0, 0, math.nan, 4]}, "val/a frame 0 .* expected finite corners"),
])  # fmt: skip
def test_ground_truth_the_metric_cannot_use_is_named(change, words, dataset):
    outputs = predict(dataset)
    dataset[0]["annotations"][0].update(change)
    with pytest.raises(InputError, match=words):
        evaluate(dataset, outputs)


def test_two_frames_with_one_image_id_are_named(dataset):
    outputs, given = predict(dataset), samples(dataset)
    dataset[3]["image_id"] = 1
    evaluator = ImageNetVIDEvaluator(NAME)
    evaluator.process(given, outputs)
    with pytest.raises(InputError, match="val/a frame 0 .* and val/a frame 3 .* share one image id"):
        evaluator.evaluate()


def test_written_detections_give_the_same_ap_in_pycocotools(dataset, tmp_path):
    results = evaluate(dataset, predict(dataset, noise=3, keep=0.9), output_folder=tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["vid_detections.json", "vid_metrics.json"]
    ground = [
        {"image_id": d["image_id"], "category_id": a["category_id"], "bbox": [x, y, x2 - x, y2 - y],
         "area": (x2 - x) * (y2 - y), "iscrowd": 0}
        for d in dataset for a in d["annotations"] for x, y, x2, y2 in [a["bbox"]]
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": d["image_id"]} for d in dataset],
            "categories": [{"id": 0}, {"id": 1}],
            "annotations": [{"id": i + 1, **a} for i, a in enumerate(ground)],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(str(tmp_path / "out/vid_detections.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert 10 < results["bbox"]["AP"] < 100
    assert results["bbox"]["AP"] == pytest.approx(evaluation.stats[0] * 100, abs=1e-9)
    assert results["bbox"]["AP75"] == pytest.approx(evaluation.stats[2] * 100, abs=1e-9)


def test_written_files_are_strict_json_that_names_video_and_frame(dataset, tmp_path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    evaluate(dataset, predict(dataset), output_folder=tmp_path)
    metrics = json.loads((tmp_path / "vid_metrics.json").read_text(), parse_constant=refuse)
    assert metrics["results_percent"]["vid_mega"]["AP50-medium"] is None
    assert (metrics["videos"], metrics["frames"], metrics["motion_convention"]) == (3, 11, "mega")
    detections = json.loads((tmp_path / "vid_detections.json").read_text(), parse_constant=refuse)
    first = detections[0]
    assert (first["image_id"], first["video_id"], first["frame_index"]) == (1, "val/a", 0)
    assert first["bbox"] == [10, 10, 50, 50]
    nothing = [[instances([], [], []) for _ in frames] for frames in predict(dataset)]
    evaluate(dataset, nothing, output_folder=tmp_path)
    assert json.loads((tmp_path / "vid_detections.json").read_text()) == []


def test_table_is_logged_with_its_convention(dataset, caplog):
    caplog.set_level("INFO", logger="stpn")
    evaluate(dataset, predict(dataset))
    for words in ("MEGA convention", "COCO box AP per class", "dog", "11 labelled frames"):
        assert words in caplog.text


def test_reset_forgets_the_last_run(dataset):
    evaluator = ImageNetVIDEvaluator(NAME)
    for _ in range(2):
        evaluator.reset()
        evaluator.process(samples(dataset), predict(dataset))
        assert evaluator.evaluate()["bbox"]["AP"] == pytest.approx(100)
