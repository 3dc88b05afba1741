"""Sets of tracking from their names to batches and test samples, and what is refused on the way."""

import json
import shutil

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from tiny_vot import vot_config
from track_sets import load, write_sequence, write_set

from stpn import add_stpn_config
from stpn.data import TrackingFrameMapper, prepare
from stpn.data.agreement import check_data_sets
from stpn.data.build import build_video_test_loader, build_video_train_loader
from stpn.data.builtin import ENTRIES, ensure_registered
from stpn.data.early_checks import check_early
from stpn.data.video import Frame
from stpn.errors import InputError

TRAIN, VAL = "my_tracks/train", "my_tracks/val"


def boxes_of(length, start=0):
    t = np.arange(length)[:, None]
    return np.concatenate([10 + start + t % 9, 12 + t % 5, 14 + 0 * t, 11 + 0 * t], axis=1).astype(float)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """my_tracks/train with sequences of 24, 22, 8 and 1 frames and one that hardly shows its target; my_tracks/val."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    for name, length in (("long", 24), ("other", 22), ("short", 8), ("single", 1)):
        write_sequence(tmp_path / TRAIN / name, boxes_of(length))
    write_sequence(tmp_path / TRAIN / "hidden", boxes_of(25), absence=[0] * 6 + [1] * 19)
    for number, length in enumerate((5, 1, 4), 1):
        write_sequence(tmp_path / VAL / f"S{number}", boxes_of(length, number))
    (tmp_path / VAL / "list.txt").write_text("S1\nS2\nS3\n")
    yield tmp_path
    for name in (TRAIN, VAL):
        if name in DatasetCatalog:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


@pytest.fixture
def cfg(root):
    cfg = get_cfg()
    add_stpn_config(cfg)
    cfg.MODEL.META_ARCHITECTURE, cfg.INPUT.MAPPER, cfg.INPUT.FORMAT = "VideoObjectTracker", "TrackingMapper", "RGB"
    cfg.INPUT.SUPPORT.TEST_POLICY = "causal"
    cfg.INPUT.TRACKING.TEMPLATE_SIZE, cfg.INPUT.TRACKING.SEARCH_SIZE = 32, 64
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (TRAIN,), (VAL,)
    cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_WORKERS, cfg.SEED = 2, 0, 3
    return cfg


def batches(cfg, count=4, **options):
    stream = iter(build_video_train_loader(cfg, **options))
    return [next(stream) for _ in range(count)]


def refusal(call, *arguments, **options):
    with pytest.raises((InputError, FileNotFoundError)) as error:
        call(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_of_sequences_is_a_training_set_by_its_name(cfg, caplog):
    caplog.set_level("INFO", "stpn")
    found = [sample for batch in batches(cfg, 6) for sample in batch]
    assert {sample["video_id"] for sample in found} == {f"{TRAIN}/long", f"{TRAIN}/other"}
    assert {sample["image"].shape for sample in found} == {(3, 64, 64)}
    assert found[0]["support_images"].shape == (2, 3, 64, 64) and len(found[0]["support_indices"]) == 2
    assert "left out 3 of 5 sequences that have fewer than 20 frames" in caplog.text
    check_early(cfg)
    check_data_sets(cfg, training=True)


def test_baseline_and_prompted_tracker_see_the_same_samples(cfg):
    prompted = batches(cfg)
    cfg.MODEL.STPN.ENABLED = False
    baseline = batches(cfg)
    cfg.MODEL.STPN.ENABLED, cfg.INPUT.SUPPORT.SOURCE = True, "templates"
    for one, two, three in zip(*(sum(found, []) for found in (prompted, baseline, batches(cfg))), strict=True):
        assert all(torch.equal(one[key], other[key]) for key in ("image", "templates", "box") for other in (two, three))
        assert "support_images" in one and "support_images" not in two and "support_images" not in three


def test_a_resumed_run_goes_on_with_the_same_batches(cfg):
    whole = batches(cfg, 4)
    for one, two in zip(whole[2:], batches(cfg, 2, start_iter=2), strict=True):
        assert all(torch.equal(a["image"], b["image"]) for a, b in zip(one, two, strict=True))


def test_the_second_stage_draws_other_sequences_as_negatives(cfg):
    cfg.MODEL.MIXFORMER.STAGE, cfg.INPUT.TRACKING.SAMPLING = "score", "trident_pro"
    found = [sample for batch in batches(cfg, 15) for sample in batch]
    away = [sample for sample in found if not sample["present"]]
    assert 8 <= len(away) <= 22
    assert all(sample["video_id"].rpartition("/")[2] not in sample["file_name"].split("/") for sample in away)
    cfg.MODEL.MIXFORMER.STAGE = "box"
    assert all(sample["present"] for batch in batches(cfg, 5) for sample in batch)


def test_the_second_stage_needs_frames_without_the_target(cfg, root):
    (root / TRAIN / "list.txt").write_text("long\n")
    cfg.MODEL.MIXFORMER.STAGE = "score"
    assert refusal(batches, cfg).startswith("DATASETS.TRAIN has 1 sequences to train on, without a frame that lacks")
    cfg.DATASETS.TRAIN = (TRAIN, TRAIN)
    assert refusal(batches, cfg).startswith("DATASETS.TRAIN has 1 sequences to train on, without a frame that lacks")
    (root / TRAIN / "long/absence.label").write_text("0\n" * 20 + "1\n" * 4)
    assert {sample["present"] for batch in batches(cfg, 6) for sample in batch} == {0.0, 1.0}


def test_sequences_are_excluded_by_name_not_by_number(cfg, root, caplog):
    caplog.set_level("INFO", "stpn")
    cfg.INPUT.TRACKING.EXCLUDE = str(root / "vot.txt")
    (root / "vot.txt").write_text("other\nGOT-10k_Train_000001\n\n")
    assert {sample["video_id"] for batch in batches(cfg, 6) for sample in batch} == {f"{TRAIN}/long"}
    assert "left out 1 of 5 sequences that" in caplog.text
    assert "1 of 2 names in" in caplog.text and "GOT-10k_Train_000001, are in none of the training sets" in caplog.text


@pytest.mark.parametrize("text, says", [(None, "INPUT.TRACKING.EXCLUDE: file not found"), ("\n", "names no sequence")])
def test_a_list_of_exclusions_that_excludes_nothing_is_refused_before_the_data_is_read(cfg, root, text, says):
    cfg.INPUT.TRACKING.EXCLUDE = str(root / "vot.txt")
    if text is not None:
        (root / "vot.txt").write_text(text)
    assert says in refusal(check_early, cfg)


@pytest.mark.parametrize("text, hint", [("S7\nS8\n", "S7, is a seq"), ("7\n0012\n", "write the names of these seq")])
def test_a_list_of_exclusions_that_names_no_sequence_is_refused_numbers_with_a_hint(cfg, root, text, hint):
    cfg.INPUT.TRACKING.EXCLUDE = str(root / "vot.txt")
    (root / "vot.txt").write_text(text)
    line = refusal(batches, cfg)
    assert line.startswith(f"INPUT.TRACKING.EXCLUDE: none of the 2 names in {root}/vot.txt") and hint in line
    assert ("off by one" in line) == text.startswith("7") and f"({TRAIN}), such as hidden" in line


def test_an_empty_folder_as_a_tracking_set_is_told_as_such(cfg, root):
    (root / "mine/val/notes").mkdir(parents=True)
    for name, what in (("mine/val", "holds no tracking sequences"), ("mine/val/notes", "is empty")):
        line = refusal(ensure_registered, [name])
        assert f"the folder {root}/{name} {what}: expected list.txt or sequence folders with groundtruth.txt; " in line


def test_all_excluded_is_no_training(cfg, root):
    cfg.INPUT.TRACKING.MIN_LENGTH = 30
    assert refusal(batches, cfg).startswith(f"no sequence to train on in DATASETS.TRAIN ({TRAIN}): each is")


@pytest.mark.parametrize("key, value, says", [
    ("SAMPLING", "random", "expected causal, trident, trident_pro"), ("FLIP", 1.5, "expected 0 to 1"),
    ("SEARCH_FACTOR", 0.0, "expected a number above 0"), ("SCALE_JITTER", -1.0, "expected 0 or more"),
    ("MAX_GAP", 0, "expected a number of frames")])  # fmt: skip
def test_options_that_no_sample_can_be_drawn_with_are_refused_early(cfg, key, value, says):
    cfg.INPUT.TRACKING[key] = value
    line = refusal(check_early, cfg)
    assert line.startswith(f"INPUT.TRACKING.{key} is") and says in line


@pytest.mark.parametrize("change, says", [
    (("INPUT.FORMAT", "BGR"), "INPUT.FORMAT is 'BGR', but VideoObjectTracker reads frames as RGB"),
    (("INPUT.MAPPER", "VideoDatasetMapper"), "INPUT.MAPPER is VideoDatasetMapper, which does not fit"),
    (("DATASETS.TRAIN", ("imagenet_vid_val",)), "imagenet_vid_val has boxes of labelled frames, but MODEL.META_ARCH"),
    (("DATASETS.TEST", ("ytvis_2019_val",)), "ytvis_2019_val has masks of whole videos"),
    (("MODEL.META_ARCHITECTURE", "VideoObjectDetector"), "INPUT.MAPPER is TrackingMapper, which does not fit"),
    (("DATASETS.TRAIN", ("got10k_test",)), "got10k_test has no labels: it can be in DATASETS.TEST"),
    (("DATASETS.TRAIN", ("trackingnet_test",)), "trackingnet_test has no labels")])  # fmt: skip
def test_what_does_not_fit_a_tracker_is_refused_early(cfg, root, change, says):
    for folder in ("got10k/test", "trackingnet/TEST"):
        (root / folder).mkdir(parents=True)
    cfg.merge_from_list(list(change))
    assert refusal(check_early, cfg).startswith(says)


def test_test_samples_are_whole_sequences_one_frame_included(cfg):
    found = [batch[0] for batch in build_video_test_loader(cfg, VAL)]
    records = {record["name"]: record for record in DatasetCatalog.get(VAL)}
    assert [(sample["name"], sample["length"], sample["frames"].length) for sample in found] == [
        ("S1", 5, 5), ("S2", 1, 1), ("S3", 4, 4)]
    for sample in found:
        assert sample["box"] == records[sample["name"]]["boxes"][0].tolist() and len(sample["box"]) == 4
        items = list(sample["frames"])
        assert [item["frame"].index for item in items] == list(range(sample["length"]))
        assert items[0]["frame"].image.shape == (items[0]["height"], items[0]["width"], 3) == (48, 64, 3)
        assert sample["video_id"] == f"{VAL}/{sample['name']}" and (sample["height"], sample["width"]) == (48, 64)


def test_frames_reach_a_tracker_as_they_are(cfg):
    frame = Frame(3, 0.1, np.zeros((7, 9, 3), np.uint8))
    item = prepare(cfg)(frame)
    assert isinstance(prepare(cfg), TrackingFrameMapper) and item["frame"] is frame
    assert (item["height"], item["width"]) == (7, 9)


@pytest.mark.parametrize("line, says", [
    ("5,6,0,4", "a width and a height above 0"), ("70,6,3,4", "outside the frame of 64x48 pixels"),
    ("nan,nan,nan,nan", "a width and a height above 0")])  # fmt: skip
def test_a_test_sequence_that_no_tracker_can_start_is_named(cfg, root, line, says):
    path = root / VAL / "S3/groundtruth.txt"
    path.write_text("\n".join([line, *path.read_text().splitlines()[1:]]))
    found = refusal(check_data_sets, cfg, training=False)
    assert found.startswith(f"first frame of {VAL}/S3: the box is") and says in found


def test_a_test_sequence_of_another_size_than_its_labels_is_refused(cfg, root):
    (root / VAL / "S1/meta_info.ini").write_text("[METAINFO]\nresolution: (640, 480)\n")
    assert "is 64x48 pixels, but the labels are for 640x480" in refusal(check_data_sets, cfg, training=False)


@pytest.mark.parametrize("labelled", [True, False])
def test_a_frame_of_another_size_than_the_first_is_refused_in_evaluation(cfg, root, labelled):
    """Its box would be in other pixels than its label. Where labels are hidden, so are those of the server."""
    Image.new("RGB", (32, 24)).save(root / VAL / "S3/00000003.jpg")
    name = VAL
    if not labelled:
        name = "got10k_test"
        shutil.copytree(root / VAL, root / "got10k/test")
        for number in range(1, 4):
            path = root / f"got10k/test/S{number}/groundtruth.txt"
            path.write_text(path.read_text().splitlines()[0] + "\n")
    (_, _, sample) = (batch[0] for batch in build_video_test_loader(cfg, name))
    line = refusal(list, sample["frames"])
    assert "S3/00000003.jpg (frame 2 of" in line and "is 32x24 pixels, but the labels are for 64x48" in line
    cfg.DATASETS.TEST = (name,)
    check_data_sets(cfg, training=False)  # looks at first frames alone


def test_missing_pictures_stop_a_training_or_are_left_out(cfg, root):
    (root / TRAIN / "long/00000007.jpg").unlink()
    assert refusal(batches, cfg).startswith("1 of 80 training frames are missing")
    cfg.DATALOADER.ALLOW_MISSING = True
    for sample in sum(batches(cfg, 10), []):
        if sample["video_id"].endswith("long"):
            assert 6 not in (sample["frame_index"], *sample["template_indices"])


def test_names_of_own_sets_are_folders_with_sequences(root):
    (root / "my_tracks/empty").mkdir()
    (root / "my_tracks/pictures/a").mkdir(parents=True)
    for name in ("my_tracks/empty", "my_tracks/pictures", "my_tracks/trian", "../outside", str(root / TRAIN)):
        line = refusal(ensure_registered, [name])
        assert f"data set {name!r} is not known" in line
    assert "did you mean my_tracks/val" in refusal(ensure_registered, ["my_tracks/vla"])


def test_groups_of_frames_come_with_the_metadata(tmp_path):
    write_set(tmp_path, [3, 4])
    assert load(tmp_path)[1]["frame_groups"] is None
    (tmp_path / "groups.json").write_text(json.dumps({"clean": {"S1": [0, 2], "S2": []}, "blur": {"S2": [3]}}))
    assert load(tmp_path)[1]["frame_groups"] == {"clean": {"S1": [0, 2], "S2": []}, "blur": {"S2": [3]}}
    for wrong, says in (({"clean": {"S9": [0]}}, "clean.S9 is not the name of a sequence"),
                        ({"clean": {"S1": [3]}}, "clean.S1 is no list of frames of this video, 0..2")):
        (tmp_path / "groups.json").write_text(json.dumps(wrong))
        assert says in refusal(load, tmp_path)


def test_generated_sets_are_known_by_name():
    assert {"toy_got10k_train", "toy_got10k_val"} <= set(ENTRIES)
    assert ENTRIES["toy_got10k_val"].part == "val" and ENTRIES["toy_got10k_val"].folders == ("toy_got10k",)


@pytest.mark.parametrize("stage, said", [("box", "SCORE_HEAD False"), ("score", "those of the first stage")])
def test_a_part_that_is_not_trained_must_not_start_from_random(stage, said):
    cfg = vot_config("MODEL.MIXFORMER.STAGE", stage, "MODEL.WEIGHTS", "", "DATASETS.TRAIN", "()", "DATASETS.TEST", "()")
    with pytest.raises(InputError, match=said):
        check_early(cfg)
    cfg.MODEL.WEIGHTS = "first.pth"
    check_early(cfg)
