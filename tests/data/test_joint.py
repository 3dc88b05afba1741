"""Training on several sets at once: video and still pictures, plainly one after the other."""

import itertools
import os
import shutil
from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from plain_sets import content, pictures, write_file, write_folder, write_json

from stpn.data import builtin
from stpn.data.agreement import check_data_sets
from stpn.data.build import build_video_train_loader
from stpn.errors import InputError

VID, DET = "imagenet_vid_train_15frames", "imagenet_det_30cls"
OTHER = "n00007846"  # a class of DET that VID does not have


def epoch(cfg, count):
    """Samples of the first epoch, which has `count`, in batches of one."""
    cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.ASPECT_RATIO_GROUPING = 1, False
    return list(itertools.chain(*itertools.islice(build_video_train_loader(cfg), count)))


def assert_supports_itself(sample):
    assert sample["support_indices"] == [0] * len(sample["support_images"]) and sample["video_length"] == 1
    assert all(torch.equal(image, sample["image"]) for image in sample["support_images"])


@pytest.fixture
def with_det(tiny_cfg, tiny_root, layout):
    """tiny_root's videos and three DET pictures, one listed twice, one without an object of the 30 classes."""
    first, second, third = ("train/ILSVRC2014_train_0000/p", "train/ILSVRC2013_train/n1/n1_5", "train/x/q")
    boxes = {first: [(0, OTHER, 1, 1, 9, 9), (0, layout.DOG, 2, 3, 30, 40), (0, layout.CAR, 5, 5, 50, 40)],
             second: [(0, layout.CAR, 2, 3, 30, 40)], third: [(0, OTHER, 1, 1, 9, 9)]}
    for name, found in boxes.items():
        layout.xml(tiny_root / "Annotations" / "DET" / f"{name}.xml", boxes=found)
        path = tiny_root / "Data" / "DET" / f"{name}.JPEG"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), pictures(1, seed=len(name))[0])
    layout.list(tiny_root, "DET_train_30classes", [f"{name} 1" for name in (first, second, first, third)])
    tiny_cfg.DATASETS.TRAIN = (VID, DET)
    builtin.register_all()
    return tiny_cfg, first, second


def test_video_frames_and_still_pictures_come_once_an_epoch_as_listed(with_det):
    cfg, first, second = with_det
    seen = Counter((s["video_id"], s["frame_index"]) for s in epoch(cfg, 10))
    videos = {(f"train/{v}", i): 1 for v in "ab" for i in range(4) if (v, i) != ("b", 3)}  # b's last frame is empty
    assert seen == {**videos, (f"DET/{first}", 0): 2, (f"DET/{second}", 0): 1}


def test_still_pictures_support_themselves_and_video_frames_their_neighbours(with_det):
    cfg, first, _ = with_det
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.CLIP_CROP.ENABLED = (48,), False  # no box is lost to a crop
    for sample in epoch(cfg, 10):
        if sample["video_id"].startswith("DET/"):
            assert_supports_itself(sample)
            classes = sorted(sample["instances"].gt_classes.tolist())
            assert classes == ([6, 8] if sample["video_id"] == f"DET/{first}" else [6])
        else:
            assert len(sample["support_images"]) == 2 and sample["frame_index"] not in sample["support_indices"]


def test_real_video_and_det_pictures_train_together(sample_data_dir, tiny_cfg, tmp_path, monkeypatch):
    """vid_mini's training part under ImageNet's name; some of its frames double as DET pictures."""
    mini, root = sample_data_dir / "vid_mini", tmp_path / "data" / "ILSVRC"
    for part in ("Data", "Annotations"):
        (root / part).mkdir(parents=True)
        os.symlink(mini / part / "VID", root / part / "VID")
    shutil.copytree(mini / "ImageSets", root / "ImageSets")
    names = []
    for folder in sorted((mini / "Data" / "VID" / "train").rglob("ILSVRC2015_train_9000000[0-3]")):
        name = f"train/ILSVRC2014_train_0000/{folder.name}"
        for part, suffix in (("Data", ".JPEG"), ("Annotations", ".xml")):
            path = root / part / "DET" / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            source = mini / part / "VID" / folder.relative_to(mini / "Data" / "VID") / f"000020{suffix}"
            os.symlink(source, path)
        names.append(name)
    assert len(names) == 4
    lists = root / "ImageSets" / "VID"
    (lists / "DET_train_30classes.txt").write_text("\n".join(f"{name} 1" for name in [*names, names[0]]))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root.parent))
    tiny_cfg.DATASETS.TRAIN = (VID, DET)
    samples = epoch(tiny_cfg, 110)
    stills = [sample for sample in samples if sample["video_id"].startswith("DET/")]
    assert len(stills) == 5 and len({(s["video_id"], s["frame_index"]) for s in samples}) == 109
    for sample in stills:
        assert_supports_itself(sample)


# ---- the plain format with still pictures in COCO's


@pytest.fixture
def with_coco(tiny_cfg, tmp_path, monkeypatch):
    """my_set/train (one file, one folder, 6 labelled frames) and two COCO pictures of the same classes."""
    root = tmp_path / "sets" / "my_set"
    write_file(root / "a.mp4", pictures(4))
    write_folder(root / "b", pictures(4, seed=1))
    what = content("a.mp4", "b")
    write_json(root / "train.json", what)
    write_folder(tmp_path / "stills", pictures(2, seed=2))
    still = {"categories": sorted(what["categories"], key=lambda row: row["id"]),
             "images": [{"id": i, "file_name": f"{i:06d}.png", "width": 64, "height": 48} for i in (1, 2)],
             "annotations": [{"id": i, "image_id": i, "category_id": 4, "bbox": [4, 10, 20, 20], "iscrowd": 0,
                              "area": 400} for i in (1, 2)]}  # fmt: skip
    register_coco_instances("joint_test_stills", {}, str(write_json(tmp_path / "coco.json", still)),
                            str(tmp_path / "stills"))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root.parent))
    tiny_cfg.DATASETS.TRAIN = ("my_set/train", "joint_test_stills")
    yield tiny_cfg, tmp_path / "coco.json", still
    for name in tiny_cfg.DATASETS.TRAIN:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_plain_videos_and_coco_pictures_train_together(with_coco):
    cfg, _, _ = with_coco
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.CLIP_CROP.ENABLED = (48,), False
    samples = epoch(cfg, 8)
    stills = [sample for sample in samples if sample["video_id"].startswith("/")]
    assert len(stills) == 2 and len({s["file_name"] for s in samples}) == 8
    for sample in stills:
        assert_supports_itself(sample)
        assert sample["instances"].gt_classes.tolist() == [1]
    for sample in (s for s in samples if s not in stills):
        assert len(set(sample["support_indices"]) - {sample["frame_index"]}) >= 1
        assert np.any((sample["support_images"] != sample["image"]).numpy())


def test_classes_of_coco_pictures_agree_with_those_of_a_plain_test_set(with_coco, tmp_path):
    cfg, _, _ = with_coco
    cfg.DATASETS.TEST, cfg.MODEL.ROI_HEADS.NUM_CLASSES = ("my_set/train",), 2
    cfg.DATASETS.TRAIN = ("joint_test_stills",)
    build_video_train_loader(cfg)
    check_data_sets(cfg, training=True)
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 80
    with pytest.raises(InputError, match=r"joint_test_stills has 2 classes \(ball, cup\), but .* is 80; give .* 2$"):
        check_data_sets(cfg, training=True)
    cfg.DATASETS.TRAIN = ("my_set/train", "joint_test_stills")  # for the fixture's end


def test_coco_pictures_of_other_classes_are_refused(with_coco):
    cfg, path, still = with_coco
    write_json(path, {**still, "categories": still["categories"][::-1][:1]})
    with pytest.raises(InputError, match="my_set/train and joint_test_stills have different class tables"):
        build_video_train_loader(cfg)
