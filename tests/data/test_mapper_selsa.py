"""What the mapper adds for SELSA: frames whose proposals are aggregated, drawn apart from those of the prompts."""

import pytest
import torch
from detectron2.data import DatasetCatalog

from stpn.data.mapper import VideoDatasetMapper
from stpn.errors import InputError


def samples(cfg, **changes):
    for key, value in changes.items():
        node, name = cfg, key.split("__")
        for part in name[:-1]:
            node = node[part]
        node[name[-1]] = value
    cfg.MODEL.META_ARCHITECTURE = "SelsaDetector"
    mapper = VideoDatasetMapper.from_config(cfg, is_train=True)
    return [mapper({**sample, "sample_seed": (3, i)}) for i, sample in enumerate(DatasetCatalog.get("tiny_test_train"))]


def test_selsa_frames_come_with_the_key_frames_transform_and_not_the_supports_size(tiny_cfg):
    for sample in samples(tiny_cfg, INPUT__SELSA__TRAIN_FRAMES=3, INPUT__SUPPORT__RESIZE=0.5):
        assert sample["selsa_images"].shape == (3, *sample["image"].shape)
        assert sample["selsa_images"].dtype == torch.uint8
        assert sample["support_images"].shape[-1] < sample["image"].shape[-1]
        indices = sample["selsa_indices"]
        assert sample["frame_index"] not in indices and all(0 <= i < sample["video_length"] for i in indices)


def test_selsa_frames_do_not_change_key_frames_or_prompt_supports(tiny_cfg):
    without = samples(tiny_cfg)
    for a, b in zip(without, samples(tiny_cfg, INPUT__SELSA__TRAIN_FRAMES=2)):
        assert "selsa_images" not in a and len(b["selsa_images"]) == 2
        assert torch.equal(a["image"], b["image"]) and a["support_indices"] == b["support_indices"]
        assert torch.equal(a["support_images"], b["support_images"])


def test_rows_with_and_without_prompts_aggregate_the_same_frames(tiny_cfg):
    prompted = samples(tiny_cfg, INPUT__SELSA__TRAIN_FRAMES=2)
    for a, b in zip(prompted, samples(tiny_cfg, MODEL__STPN__ENABLED=False)):
        assert "support_images" in a and "support_images" not in b
        assert a["selsa_indices"] == b["selsa_indices"] and torch.equal(a["selsa_images"], b["selsa_images"])


def test_frames_for_selsa_that_the_model_would_not_read_are_refused(tiny_cfg):
    tiny_cfg.MODEL.META_ARCHITECTURE, tiny_cfg.INPUT.SELSA.TRAIN_FRAMES = "VideoObjectDetector", 2
    with pytest.raises(InputError, match="INPUT.SELSA.TRAIN_FRAMES is 2, but VideoObjectDetector reads no such frames"):
        VideoDatasetMapper.from_config(tiny_cfg, is_train=True)
    assert VideoDatasetMapper.from_config(tiny_cfg, is_train=False).selsa_sampler is None
