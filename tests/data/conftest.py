"""A small data set in ImageNet VID's layout, in a temporary folder: two training, two validation videos."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog

from stpn.config import add_stpn_config
from stpn.data.builtin import Entry, register
from stpn.data.datasets import load_imagenet_vid

CAR, DOG = "n02958343", "n02084071"


def write_xml(path, *, boxes, size=(64, 48)):
    """boxes: list of (track, wnid, x1, y1, x2, y2); size: width, height."""
    objects = "".join(
        f"<object><trackid>{track}</trackid><name>{name}</name><bndbox><xmax>{x2}</xmax><xmin>{x1}</xmin>"
        f"<ymax>{y2}</ymax><ymin>{y1}</ymin></bndbox><occluded>0</occluded><generated>1</generated></object>"
        for track, name, x1, y1, x2, y2 in boxes)
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    path.write_text(f"<annotation><size><width>{width}</width><height>{height}</height></size>{objects}"
                    "</annotation>")


def write_video(root, video_id, *, length, size=(64, 48), boxes=None):
    """Frame i is a plain grey picture of value 40 * (i % 6) + 10; its box moves two pixels a frame."""
    for i in range(length):
        path = root / "Data" / "VID" / video_id / f"{i:06d}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((size[1], size[0], 3), 40 * (i % 6) + 10, np.uint8))
        found = [(0, CAR, 4 + 2 * i, 5, 20 + 2 * i, 30)] if boxes is None else boxes[i]
        write_xml(root / "Annotations" / "VID" / video_id / f"{i:06d}.xml", boxes=found, size=size)


def write_list(root, name, lines):
    path = root / "ImageSets" / "VID" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture(scope="session")
def layout():
    """The writers above, for tests that change the set or write their own."""
    return SimpleNamespace(xml=write_xml, video=write_video, list=write_list, CAR=CAR, DOG=DOG)


@pytest.fixture
def tiny_root(tmp_path):
    """train/a (4 frames, wide), train/b (4 frames, high, the last empty), val/c (5 frames), val/d (3)."""
    root = tmp_path / "ILSVRC2015"
    write_video(root, "train/a", length=4)
    write_video(root, "train/b", length=4, size=(48, 64), boxes=[[(0, DOG, 2, 3, 30, 40)]] * 3 + [[]])
    write_video(root, "val/c", length=5)
    write_video(root, "val/d", length=3)
    write_list(root, "VID_train_15frames", [f"train/{v} 1 {i} 4" for v in "ab" for i in range(4)])
    write_list(root, "VID_val_videos", ["val/c 1 0 5", "val/d 6 0 3"])
    return root


@pytest.fixture
def tiny_sets(tiny_root, monkeypatch):
    """The names of the set's training and validation part, registered for this test only."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tiny_root.parent))
    names = {"tiny_test_train": "VID_train_15frames", "tiny_test_val": "VID_val_videos"}
    for name, stem in names.items():
        register(name, Entry(load_imagenet_vid, ("ILSVRC2015",), (stem,)))
    yield tuple(names)
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def tiny_cfg(tiny_sets):
    cfg = get_cfg()
    add_stpn_config(cfg)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = tiny_sets[:1], tiny_sets[1:]
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = (32, 40, 56), 80
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 24, 60
    cfg.INPUT.CLIP_CROP.MIN_SIZES, cfg.INPUT.CLIP_CROP.SIZE_RANGE = [36, 44], [20, 30]
    cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_WORKERS, cfg.SEED = 2, 0, 3
    return cfg
