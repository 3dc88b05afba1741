"""Masks: kept in a file, resized, encoded."""

import os

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from stpn.heads import MaskStore, encode_mask, resize_masks


def blobs(seed, count=6, size=(24, 32)):
    generator = torch.Generator().manual_seed(seed)
    coarse = 4 * torch.randn(1, count, 5, 6, generator=generator) - 2
    masks = torch.nn.functional.interpolate(coarse, size, mode="bicubic")[0]
    masks[0] = -1 - masks[0].abs()  # one without a positive logit
    return masks


@pytest.mark.parametrize("frame", [(96, 128), (60, 87), (200, 311), (13, 17), (96, 17)])
def test_kept_masks_resize_to_the_same_pixels_as_whole_ones(frame):
    geometry = {"padded": (96, 128), "size": (90, 121), "frame": frame}
    with MaskStore() as store:
        for seed in range(8):
            masks = blobs(seed).half().float()
            store.append(masks)
            whole = resize_masks(masks, **geometry)
            for row in range(len(masks)):
                kept = store.read(seed, row)
                if kept is None:
                    assert not whole[row].any()
                else:
                    assert torch.equal(resize_masks(kept[None], **geometry)[0], whole[row])


def test_a_mask_at_the_border_and_a_full_one_are_kept():
    masks = torch.full((3, 6, 7), -5.0)
    masks[0, 0, 6], masks[1] = 3.0, 2.0
    with MaskStore() as store:
        store.append(masks)
        assert store.read(0, 2) is None
        assert store.read(0, 0)[0, 6] == 3 and (store.read(0, 0) > 0).sum() == 1
        assert torch.equal(store.read(0, 1), masks[1])


def test_large_logits_survive_half_precision():
    with MaskStore() as store:
        store.append(torch.tensor([[[1e9, -1e9], [-1e9, 1e9]]]))
        grown = resize_masks(store.read(0, 0)[None], padded=(8, 8), size=(8, 8), frame=(8, 8))
    assert grown[0, 0, 0] and not grown[0, 0, 7]


def test_the_file_goes_with_the_store(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    with MaskStore() as store:
        store.append(blobs(0))
    assert list(tmp_path.iterdir()) == []
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


def test_resizing_nothing_gives_nothing():
    assert resize_masks(torch.zeros(0, 4, 4), padded=(16, 16), size=(16, 16), frame=(9, 5)).shape == (0, 9, 5)


def test_encoding_is_cocos_and_an_empty_mask_is_none():
    mask = torch.rand(9, 13, generator=torch.Generator().manual_seed(0)) > 0.6
    rle = encode_mask(mask)
    assert rle["size"] == [9, 13] and isinstance(rle["counts"], str)
    assert np.array_equal(coco_mask.decode(rle).astype(bool), mask.numpy())
    assert encode_mask(torch.zeros(9, 13, dtype=torch.bool)) is None


def test_a_full_temporary_folder_is_named():
    with MaskStore() as store:
        class Full:
            seek = store._file.seek
            close = store._file.close

            def write(self, data):
                raise OSError(28, "No space left on device")

        store._file = Full()
        with pytest.raises(OSError, match="TMPDIR") as caught:
            store.append(blobs(0))
        assert caught.value.errno == 28
