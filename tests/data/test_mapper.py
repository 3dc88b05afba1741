import copy

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data import transforms as T
from detectron2.structures import BoxMode

from stpn.data.augmentation import build_augmentations, seeded
from stpn.data.mapper import TestFrameMapper, VideoDatasetMapper, prepare
from stpn.data.video import Frame, VideoIndex
from stpn.errors import InputError

MARK = np.array([200, 30, 90], np.uint8)


class FixedSupport:
    """Stands in for the sampler: always the same indices."""

    def __init__(self, *indices):
        self.indices = list(indices)

    def train(self, t, length, rng):
        return self.indices


@pytest.fixture
def marked_video(tmp_path):
    """Six PNG frames 60x80 with the same bright rectangle on noise: frame i differs only in the noise."""
    index, rng = VideoIndex(), np.random.default_rng(0)
    for i in range(6):
        image = rng.integers(0, 60, (60, 80, 3), dtype=np.uint8)
        image[20:40, 30:60] = MARK
        cv2.imwrite(str(tmp_path / f"{i:06d}.png"), image[:, :, ::-1])
    index.add("v", str(tmp_path) + "/{:06d}.png", 6)
    sample = {"file_name": index.path("v", 2), "image_id": 3, "height": 60, "width": 80, "video_id": "v",
              "frame_index": 2, "video_length": 6, "annotations": [
                  {"bbox": [30, 20, 60, 40], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 4, "track_id": 7,
                   "iscrowd": 0}]}
    return index, sample


def make(index, *support, augmentations=(), **options):
    return VideoDatasetMapper(is_train=True, sampler=FixedSupport(*support) if support else None,
                              video_index=index, augmentations=list(augmentations), **options)


def test_sample_has_the_key_frame_its_supports_and_its_boxes(marked_video):
    index, sample = marked_video
    before = copy.deepcopy(sample)
    result = make(index, 0, 2, 5)(sample)
    assert sample == before
    assert result["image"].shape == (3, 60, 80) and result["image"].dtype == torch.uint8
    assert result["support_images"].shape == (3, 3, 60, 80) and result["support_indices"] == [0, 2, 5]
    for image, i in zip(result["support_images"], (0, 2, 5), strict=True):
        plain = cv2.imread(index.path("v", i))[:, :, ::-1]
        assert np.array_equal(image.permute(1, 2, 0).numpy(), plain)
    assert torch.equal(result["support_images"][1], result["image"])
    instances = result["instances"]
    assert instances.gt_boxes.tensor.tolist() == [[30, 20, 60, 40]]
    assert instances.gt_classes.tolist() == [4] and instances.gt_ids.tolist() == [7]
    assert {key: result[key] for key in ("video_id", "frame_index", "image_id", "height", "width")} == {
        "video_id": "v", "frame_index": 2, "image_id": 3, "height": 60, "width": 80}
    assert "annotations" not in result


def overlap(a, b):
    """Intersection over union of two masks."""
    return float((a & b).sum() / (a | b).sum())


def test_supports_and_boxes_go_through_the_transform_drawn_on_the_key_frame(marked_video, tiny_cfg):
    """The rectangle is in the same place in every frame, so it must be so after any draw."""
    index, sample = marked_video
    mapper = make(index, 0, 1, augmentations=build_augmentations(tiny_cfg, True))
    sizes, shown = set(), []
    for seed in range(40):
        result = mapper({**sample, "sample_seed": seed})
        images = torch.cat([result["image"][None], result["support_images"]])
        bright = images[:, 0] > 130
        drawn = torch.zeros_like(bright[0])
        for x1, y1, x2, y2 in result["instances"].gt_boxes.tensor.round().int().tolist():
            drawn[y1:y2, x1:x2] = True
        if drawn.sum() > 100:  # else mostly border pixels
            shown.append(min(overlap(drawn, bright[0]), overlap(bright[0], bright[1]),
                             overlap(bright[0], bright[2])))
        sizes.add(tuple(result["image"].shape))
    assert len(sizes) > 5 and len(shown) > 20 and min(shown) > 0.6 and np.mean(shown) > 0.85


def test_recipe_draws_both_branches_and_flips_in_half_of_the_samples(marked_video, tiny_cfg):
    augmentations = T.AugmentationList(build_augmentations(tiny_cfg, True))
    image, flips, crops = np.zeros((60, 80, 3), np.uint8), 0, 0
    for seed in range(200):
        with seeded(seed):
            transforms = augmentations(T.AugInput(image)).transforms
        kinds = [type(t).__name__ for t in transforms]
        flips += "HFlipTransform" in kinds
        crops += "CropTransform" in kinds
        resized = transforms[-1]
        assert min(resized.new_h, resized.new_w) <= 56 and max(resized.new_h, resized.new_w) <= 80
        crop = next((t for t in transforms if isinstance(t, T.CropTransform)), None)
        assert crop is None or (20 <= crop.w <= 30 and 20 <= crop.h <= 30)
    assert 70 < flips < 130 and 70 < crops < 130


def test_same_seed_same_sample_whatever_was_drawn_before(marked_video, tiny_cfg):
    tiny_cfg.DATASETS.TRAIN = ()
    index, sample = marked_video
    mapper = VideoDatasetMapper.from_config(tiny_cfg, is_train=True)
    mapper.video_index = index
    first = mapper({**sample, "sample_seed": (3, 17)})
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    again = mapper({**sample, "sample_seed": (3, 17)})
    assert np.array_equal(np.random.get_state()[1], state)
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["support_images"], again["support_images"])
    assert first["support_indices"] == again["support_indices"]
    others = [mapper({**sample, "sample_seed": (3, i)}) for i in range(8)]
    assert len({(tuple(o["image"].shape), tuple(o["support_indices"])) for o in others}) > 4


def test_baseline_reads_no_supports_and_sees_the_same_key_frames(tiny_cfg, monkeypatch):
    stpn = VideoDatasetMapper.from_config(tiny_cfg, is_train=True)
    tiny_cfg.MODEL.STPN.ENABLED = False
    baseline = VideoDatasetMapper.from_config(tiny_cfg, is_train=True)
    for i, sample in enumerate(DatasetCatalog.get("tiny_test_train")):
        with_support = stpn({**sample, "sample_seed": (3, i)})
        with monkeypatch.context() as patch:
            patch.setattr(VideoIndex, "path", None)  # any look-up of a support frame would fail
            plain = baseline({**sample, "sample_seed": (3, i)})
        assert "support_images" not in plain and len(with_support["support_images"]) == 2
        assert sample["frame_index"] not in with_support["support_indices"]
        assert torch.equal(plain["image"], with_support["image"])
        assert torch.equal(plain["instances"].gt_boxes.tensor, with_support["instances"].gt_boxes.tensor)


def test_still_picture_supports_itself_without_a_video_index(marked_video, tiny_cfg):
    _, sample = marked_video
    tiny_cfg.DATASETS.TRAIN = ()
    mapper = VideoDatasetMapper.from_config(tiny_cfg, is_train=True)
    still = {key: sample[key] for key in ("file_name", "image_id", "height", "width", "annotations")}
    result = mapper({**still, "sample_seed": 5})
    assert result["support_indices"] == [0, 0] and len(mapper.video_index) == 0
    assert all(torch.equal(image, result["image"]) for image in result["support_images"])


def test_support_resize_halves_the_supports_only(marked_video):
    index, sample = marked_video
    result = make(index, 0, 2, support_resize=0.5)(sample)
    assert result["image"].shape == (3, 60, 80) and result["support_images"].shape == (2, 3, 30, 40)
    assert abs(int(result["support_images"][0, 0, 15, 22]) - int(MARK[0])) < 3


def test_support_of_another_size_is_brought_to_the_key_frames_size_first(marked_video):
    index, sample = marked_video
    large = cv2.resize(cv2.imread(index.path("v", 1)), (160, 120), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(index.path("v", 1), large)
    result = make(index, 0, 1, augmentations=[T.CropTransform(32, 22, 26, 16)])(sample)
    assert (result["support_images"].float().mean((2, 3)) - torch.tensor(MARK).float()).abs().max() < 3


def test_channels_are_reversed_for_bgr(marked_video):
    index, sample = marked_video
    rgb, bgr = (make(index, 1, image_format=f)(sample) for f in ("RGB", "BGR"))
    assert torch.equal(rgb["image"].flip(0), bgr["image"])
    assert torch.equal(rgb["support_images"].flip(1), bgr["support_images"])


def test_box_that_is_not_finite_names_the_sample(marked_video):
    index, sample = marked_video
    sample["annotations"][0]["bbox"] = [30, float("nan"), 60, 40]
    with pytest.raises(InputError, match="frame 2 of v .*000002.png.*nan"):
        make(index)(sample)


def test_boxes_outside_the_crop_are_dropped(marked_video):
    index, sample = marked_video
    result = make(index, augmentations=[T.CropTransform(0, 0, 20, 15)])(sample)
    assert len(result["instances"]) == 0 and result["instances"].gt_boxes.tensor.shape == (0, 4)


def test_annotation_of_another_size_names_the_sample_and_both_sizes(marked_video):
    index, sample = marked_video
    with pytest.raises(InputError, match="000002.png.* 80x60 .* 99x60"):
        make(index)({**sample, "width": 99})


def test_box_drawn_on_the_stored_pixels_of_an_exif_turned_picture_fits(tmp_path):
    from PIL import Image
    pixels = np.zeros((40, 64, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "x.jpg", exif=exif)
    sample = {"file_name": str(tmp_path / "x.jpg"), "height": 40, "width": 64}
    assert make(VideoIndex())(dict(sample))["image"].shape == (3, 40, 64)
    assert make(VideoIndex())({**sample, "height": 64, "width": 40})["image"].shape == (3, 64, 40)


def test_index_of_all_training_sets_is_merged(tiny_cfg):
    MetadataCatalog.get("tiny_test_val").video_index.clear()
    tiny_cfg.DATASETS.TRAIN = ("tiny_test_train", "tiny_test_val")
    mapper = VideoDatasetMapper.from_config(tiny_cfg, is_train=True)
    assert set(mapper.video_index) == {"train/a", "train/b", "val/c", "val/d"}


def test_test_frames_are_resized_without_touching_the_random_state(tiny_cfg):
    frame = Frame(0, 0.0, np.full((50, 100, 3), 7, np.uint8))
    state = np.random.get_state()[1].copy()
    item = prepare(tiny_cfg)(frame)
    assert np.array_equal(np.random.get_state()[1], state)
    assert item["image"].shape == (3, 24, 48) and (item["height"], item["width"]) == (50, 100)
    assert item["frame"] is frame
    assert prepare(tiny_cfg)(Frame(0, 0.0, np.zeros((10, 90, 3), np.uint8)))["image"].shape == (3, 7, 60)
    assert TestFrameMapper(min_size=0, max_size=0)(frame)["image"].shape == (3, 50, 100)


def test_evaluation_mapper_gives_the_image_alone(marked_video, tiny_cfg):
    _, sample = marked_video
    result = VideoDatasetMapper.from_config(tiny_cfg, is_train=False)(sample)
    assert result["image"].shape == (3, 24, 32) and not {"instances", "support_images"} & set(result)
