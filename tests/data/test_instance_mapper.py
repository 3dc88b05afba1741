from collections import Counter

import numpy as np
import pytest
import torch
import ytvis_files
from detectron2.data import transforms as T
from plain_sets import write_json
from pycocotools import mask as coco_mask
from ytvis_files import COLOR, picture, shape

from stpn.data import instance_mapper
from stpn.data.datasets import load_ytvis
from stpn.data.instance_mapper import VideoInstanceMapper
from stpn.data.video import VideoIndex
from stpn.errors import InputError


class FixedSupport:
    def train(self, t, length, rng):
        return [int(rng.integers(length)), t]


@pytest.fixture
def videos(tmp_path):
    """-> VideoIndex, {json_id: dataset dict}."""
    ytvis_files.write_pictures(tmp_path / "train" / "JPEGImages")
    index = VideoIndex()
    dicts, _ = load_ytvis(write_json(tmp_path / "train.json", ytvis_files.content()), name="set", video_index=index)
    return index, {video["json_id"]: video for video in dicts}


def make(index, *augmentations, supports=True, **options):
    return VideoInstanceMapper(is_train=True, sampler=FixedSupport() if supports else None, video_index=index,
                               augmentations=list(augmentations), **options)


def test_sample_is_a_frame_with_its_masks_and_tight_boxes(videos):
    index, dicts = videos
    for seed in range(12):
        sample = make(index)({**dicts[5], "sample_seed": seed})
        t, instances = sample["frame_index"], sample["instances"]
        assert np.array_equal(sample["image"].permute(1, 2, 0).numpy(), picture(5, t))
        assert sample["support_indices"][1] == t and torch.equal(sample["support_images"][1], sample["image"])
        tracks = [12] if t == 1 else [11, 12]
        assert instances.gt_ids.tolist() == tracks and instances.gt_classes.tolist() == [track - 11 for track in tracks]
        assert instances.gt_masks.tensor.dtype == torch.bool and instances.image_size == (24, 32)
        for mask, box, track in zip(instances.gt_masks.tensor.numpy(), instances.gt_boxes.tensor.tolist(), tracks):
            assert np.array_equal(mask, shape(track, t))
            x, y, width, height = coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask, np.uint8))).tolist()
            assert box == [x, y, x + width, y + height]
        said = {"video_id": "set/5", "json_id": 5, "video_length": 4, "height": 24, "width": 32,
                "file_name": index.path("set/5", t)}
        assert {key: sample[key] for key in said} == said
        assert not {"annotations", "length", "sample_seed"} & set(sample)


def test_masks_and_supports_go_through_the_transform_of_the_frame(videos):
    """The figures have colours of their own, so that the picture itself says where they are after any draw."""
    index, dicts = videos
    exact = [T.RandomFlip(), T.RandomCrop("absolute", (16, 20))]
    resized = [*exact, T.ResizeShortestEdge((40, 56), 90, "choice")]
    for seed in range(30):
        for augmentations in (exact, resized):
            sample = make(index, *augmentations)({**dicts[5], "sample_seed": seed})
            assert torch.equal(sample["support_images"][1], sample["image"])
            for mask, track in zip(sample["instances"].gt_masks.tensor, sample["instances"].gt_ids.tolist()):
                colour = torch.tensor(COLOR[track])[:, None, None]
                drawn = ((sample["image"].int() - colour).abs() < 90).all(dim=0)
                common = float((drawn & mask).sum() / (drawn | mask).sum())
                assert common == 1 if augmentations is exact else common > 0.6


def test_frames_are_drawn_uniformly_those_without_an_object_too(videos):
    index, dicts = videos
    mapper = make(index)
    drawn = Counter(mapper.key_frame(dicts[2], np.random.default_rng(seed))[0]["frame_index"] for seed in range(300))
    assert set(drawn) == {0, 1, 2} and all(75 < count < 125 for count in drawn.values())


def test_frame_without_an_object_is_a_legal_sample(videos):
    index, dicts = videos
    samples = [make(index, T.RandomFlip())({**dicts[2], "sample_seed": seed}) for seed in range(20)]
    instances = next(sample["instances"] for sample in samples if sample["frame_index"] == 2)
    assert len(instances) == 0 and instances.gt_masks.tensor.shape == (0, 40, 30)
    assert instances.gt_boxes.tensor.shape == (0, 4) and instances.gt_classes.dtype == torch.int64


def test_same_seed_same_sample_and_supports_do_not_change_the_frame(videos):
    index, dicts = videos
    augmentations = T.RandomFlip(), T.ResizeShortestEdge((24, 30, 36), 60, "choice")
    for seed in range(10):
        first, again, alone = (make(index, *augmentations, supports=supports)({**dicts[5], "sample_seed": (3, seed)})
                               for supports in (True, True, False))
        assert "support_images" not in alone and first["support_indices"] == again["support_indices"]
        for other in (again, alone):
            assert first["frame_index"] == other["frame_index"] and torch.equal(first["image"], other["image"])
            assert torch.equal(first["instances"].gt_masks.tensor, other["instances"].gt_masks.tensor)


def test_only_the_masks_of_the_drawn_frame_are_decoded(videos, monkeypatch):
    index, dicts = videos
    decoded = []
    monkeypatch.setattr(instance_mapper, "decode", lambda mask, size: decoded.append(mask) or shape(11, 0))
    sample = make(index)({**dicts[5], "sample_seed": 1})
    assert decoded == [a["segmentation"] for a in dicts[5]["annotations"][sample["frame_index"]]]


def test_crowds_and_masks_outside_the_crop_are_left_out(videos):
    index, dicts = videos
    lower = T.CropTransform(0, 12, 32, 12)  # figure 11 ends at row 12
    for seed in range(6):
        assert make(index, lower)({**dicts[5], "sample_seed": seed})["instances"].gt_ids.tolist() == [12]
    for frame in dicts[5]["annotations"]:
        frame[-1]["iscrowd"] = 1
    for seed in range(6):
        assert 12 not in make(index)({**dicts[5], "sample_seed": seed})["instances"].gt_ids.tolist()


def test_supports_are_scaled_the_masks_are_not(videos):
    index, dicts = videos
    sample = make(index, support_resize=0.5)({**dicts[5], "sample_seed": 0})
    assert sample["support_images"].shape == (2, 3, 12, 16) and sample["instances"].image_size == (24, 32)


def test_missing_frames_are_never_drawn(videos):
    index, dicts = videos
    marked = {**dicts[5], "missing_frames": [0, 2]}
    drawn = [make(index)({**marked, "sample_seed": seed}) for seed in range(20)]
    assert {sample["frame_index"] for sample in drawn} == {1, 3} and "missing_frames" not in drawn[0]


def test_mask_of_another_size_names_frame_video_and_track(videos):
    index, dicts = videos
    for frame in dicts[5]["annotations"]:
        frame[0]["segmentation"] = {"size": [32, 24], "counts": [768]}
    says = r"frame \d of set/5 \(.*clip5/000\d\d.png\), track 1[12]: segmentation has size"
    with pytest.raises(InputError, match=says):
        make(index)({**dicts[5], "sample_seed": 0})


def test_dict_is_left_as_it_was(videos):
    index, dicts = videos
    before = str(dicts[5])
    make(index, T.RandomFlip())({**dicts[5], "sample_seed": 4})
    assert str(dicts[5]) == before
