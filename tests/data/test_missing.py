"""Row 43: labelled frames whose files are not there, before training and before evaluation."""

import itertools
import logging
import os
import re

import numpy as np
import pytest
from plain_sets import changed, content, pictures, write_file, write_folder, write_json

from stpn.data import missing
from stpn.data.build import build_video_test_loader, build_video_train_loader
from stpn.data.check.plain import PlainSet
from stpn.data.check.problems import Findings
from stpn.data.datasets.video_json import load_video_json
from stpn.data.datasets.video_on_disk import _hole
from stpn.data.video import VideoIndex
from stpn.errors import InputError


def gone(root, *frames):
    """Take frames (video, number) of tiny_root away -> their paths."""
    paths = [root / "Data" / "VID" / video / f"{i:06d}.JPEG" for video, i in frames]
    for path in paths:
        path.unlink()
    return [str(path) for path in paths]


def frames_of(loader, batches=12):
    return {(s["video_id"], s["frame_index"]) for s in itertools.chain(*itertools.islice(loader, batches))}


def test_training_refuses_and_says_how_many_and_which(tiny_cfg, tiny_root):
    paths = gone(tiny_root, ("train/a", 0), ("train/b", 1))
    with pytest.raises(InputError) as error:
        build_video_train_loader(tiny_cfg)
    assert str(error.value).startswith(f"2 of 8 labelled training frames are missing: {', '.join(paths)}; ")
    assert "--allow-missing" in str(error.value) and "\n" not in str(error.value)


def test_only_the_first_few_paths_are_named(tiny_cfg, tiny_root):
    paths = gone(tiny_root, *[(f"train/{v}", i) for v in "ab" for i in range(3)])
    with pytest.raises(InputError, match="6 of 8") as error:
        build_video_train_loader(tiny_cfg)
    assert [path in str(error.value) for path in paths] == [True] * 5 + [False]
    assert f"{paths[4]}, ...;" in str(error.value)


def test_allowed_missing_frames_are_left_out_and_logged(tiny_cfg, tiny_root, caplog):
    tiny_cfg.DATALOADER.ALLOW_MISSING = True
    gone(tiny_root, ("train/a", 1), ("train/b", 0))
    with caplog.at_level(logging.WARNING):
        seen = frames_of(build_video_train_loader(tiny_cfg))
    assert seen == {("train/a", i) for i in (0, 2, 3)} | {("train/b", i) for i in (1, 2)}
    assert "2 of 8 labelled training frames are missing: " in caplog.text and "they are left out" in caplog.text


def test_a_whole_video_may_be_missing(tiny_cfg, tiny_root):
    gone(tiny_root, *[("train/a", i) for i in range(4)])
    (tiny_root / "Data" / "VID" / "train" / "a").rmdir()
    with pytest.raises(InputError, match="4 of 8 labelled training frames are missing: .*/train/a/000000.JPEG"):
        build_video_train_loader(tiny_cfg)
    tiny_cfg.DATALOADER.ALLOW_MISSING = True
    assert {video for video, _ in frames_of(build_video_train_loader(tiny_cfg))} == {"train/b"}


def test_evaluation_refuses_any_missing_frame_before_it_starts(tiny_cfg, tiny_root, layout):
    layout.list(tiny_root, "VID_val_videos", ["val/c 1 0 5", "val/c 2 4 5"])
    tiny_cfg.DATALOADER.ALLOW_MISSING = True
    (path,) = gone(tiny_root, ("val/c", 2))  # not labelled
    with pytest.raises(InputError, match=rf"1 of 5 files of tiny_test_val are missing: {re.escape(path)}; "):
        build_video_test_loader(tiny_cfg, "tiny_test_val")


def test_folders_are_listed_once_however_many_frames_they_hold(tmp_path, monkeypatch):
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: (listed.append(folder), scandir(folder))[1])
    monkeypatch.setattr(os, "stat", None)
    folders = [write_folder(tmp_path / name, pictures(3, size=(4, 40))) for name in "ab"]
    wanted = [f"{folder}/{i:06d}.png" for folder in folders for i in range(5)] + [f"{tmp_path}/none/1.png"]
    found = missing.missing_files(wanted)
    assert found == {f"{folder}/{i:06d}.png" for folder in folders for i in (0, 4)} | {f"{tmp_path}/none/1.png"}
    assert sorted(listed) == [*map(str, folders), f"{tmp_path}/none"]


def test_links_to_nothing_and_folders_are_no_frames(tmp_path):
    (tmp_path / "here.png").write_bytes(b"")
    (tmp_path / "link.png").symlink_to("here.png")
    (tmp_path / "dead.png").symlink_to("nowhere.png")
    (tmp_path / "folder.png").mkdir()
    wanted = [str(tmp_path / f"{name}.png") for name in ("here", "link", "dead", "folder")]
    assert missing.missing_files(wanted) == set(wanted[2:])


# ---- support frames


def test_unreadable_support_is_replaced_by_the_next_readable_frame_towards_the_key(tmp_path):
    images = pictures(9)
    index, folder = VideoIndex(), write_folder(tmp_path, images, start=0)
    index.add("v", str(folder) + "/{:06d}.png", 9)
    for i in (0, 1, 6):
        (folder / f"{i:06d}.png").unlink()
    (folder / "000007.png").write_bytes(b"damaged")
    nearest = {(0, 4): 2, (1, 4): 2, (3, 4): 3, (6, 4): 5, (7, 4): 5, (8, 4): 8, (7, 5): 5}
    assert all(np.array_equal(index.read_towards("v", i, t), images[j]) for (i, t), j in nearest.items())


def test_training_goes_on_without_a_missing_support_only_if_that_is_allowed(tiny_cfg, tiny_root, layout):
    layout.list(tiny_root, "VID_train_15frames", ["train/a 1 0 4", "train/a 2 3 4"])
    gone(tiny_root, ("train/a", 1), ("train/a", 2))  # what the key frames 0 and 3 are supported by, and not labelled
    with pytest.raises(InputError, match="image not found: .*00000[12].JPEG"):
        list(itertools.islice(build_video_train_loader(tiny_cfg), 8))
    tiny_cfg.DATALOADER.ALLOW_MISSING = True
    samples = list(itertools.chain(*itertools.islice(build_video_train_loader(tiny_cfg), 8)))
    assert {i for sample in samples for i in sample["support_indices"]} >= {1, 2}
    levels = {0: 10, 3: 130}  # the pictures are plain
    for sample in samples:
        for i, image in zip(sample["support_indices"], sample["support_images"], strict=True):
            stand_in = i if i in levels else sample["frame_index"]
            assert abs(float(image.float().mean()) - levels[stand_in]) < 2


# ---- the plain format


def test_a_labelled_picture_missing_from_a_folder_leaves_the_numbers_of_the_others(tmp_path):
    folder = write_folder(tmp_path / "v", pictures(4))
    what = content("v", labelled=4)
    for i, image in enumerate(what["images"]):
        image["file_name"] = f"v/{i + 1:06d}.png"
    (folder / "000002.png").unlink()
    index = VideoIndex()
    dicts, _ = load_video_json(write_json(tmp_path / "s.json", what), video_index=index, name="s")
    assert [d["file_name"] for d in dicts] == [f"{folder}/{i:06d}.png" for i in (1, 2, 3, 4)] == index.paths("v")
    kept = missing.without_missing(dicts, index, allow_missing=True, names=["my_set"])
    assert [d["frame_index"] for d in kept] == [0, 2, 3]
    with pytest.raises(InputError, match=f"1 of 4 labelled training frames are missing: {folder}/000002.png"):
        missing.without_missing(dicts, index, allow_missing=False, names=["my_set"])


@pytest.mark.parametrize("name", ["gone.mp4", "gone"])
def test_a_missing_video_of_known_size_loads_and_all_its_frames_are_missing(tmp_path, name):
    write_file(tmp_path / "v.mp4", pictures(4))
    what = changed(content("v.mp4", name), videos__1__width=64, videos__1__height=48)
    index = VideoIndex()
    dicts, _ = load_video_json(write_json(tmp_path / "s.json", what), video_index=index)
    assert len(missing.without_missing(dicts, index, allow_missing=True, names=["my_set"])) == 3
    with pytest.raises(InputError, match=f"3 of 6 labelled training frames are missing: {tmp_path}/{name}; "):
        missing.without_missing(dicts, index, allow_missing=False, names=["my_set"])
    with pytest.raises(InputError, match="1 of 2 files of s are missing"):
        missing.refuse_missing_frames(index, "s")


def test_a_picture_missing_between_numbered_ones_does_not_shift_the_labels_behind_it(tmp_path):
    """The JSON has only frame numbers: frame 2 of three pictures is another one than of four."""
    folder = write_folder(tmp_path / "v", pictures(5))
    path = write_json(tmp_path / "s.json", content("v"))
    (folder / "000002.png").unlink()
    with pytest.raises(InputError, match=r"videos\[0\].file_name .*v has nothing between 000001.png and 000003.png: "):
        load_video_json(path, video_index=VideoIndex())
    findings = Findings()
    PlainSet(path, name="s").report(findings)
    assert [found.where for found in findings.by_kind["missing picture"]] == ["videos[0].file_name"]
    # What settles the matter: the length, file names, or the picture.
    what = content("v")
    load_video_json(write_json(path, changed(what, videos__0__length=4)), video_index=VideoIndex())
    with pytest.raises(InputError, match="is 5, but .* has 4 frames; add what is missing"):
        load_video_json(write_json(path, changed(what, videos__0__length=5)), video_index=VideoIndex())
    for image in what["images"]:
        image["file_name"] = f"v/{image['frame_index'] + 1:06d}.png"
    dicts, _ = load_video_json(write_json(path, what), video_index=VideoIndex())
    assert [d["file_name"][-5] for d in dicts] == ["1", "2", "3"]


@pytest.mark.parametrize("names, hole", [
    (("a1", "a2", "a3"), None), (("a1", "a2", "a4"), ("a2", "a4")), (("a0", "a5", "a10"), None),
    (("a0", "a5", "a15"), ("a5", "a15")), (("98", "99", "100"), None), (("1603", "1638", "1672"), None),
    (("c1_7_x", "c1_8_x", "c1_10_x"), ("c1_8_x", "c1_10_x")), (("a1", "b1"), None), (("a1", "b3"), None),
    (("x",), None), (("a1", "a1b", "a3"), None), (("01", "1"), None)])  # fmt: skip
def test_gap_is_one_only_where_names_count(names, hole):
    found = _hole([f"v/{name}.png" for name in names])
    assert found == (hole and tuple(f"v/{name}.png" for name in hole))
