import json

import numpy as np
import pytest
import ytvis_files
from hypothesis import given, settings
from hypothesis import strategies as st
from load_script import load_script
from plain_sets import write_json
from ytvis_files import content, shape

from stpn.data.convert.ytvis_split import check_command, choose_videos, part_paths, split_ytvis, write_parts
from stpn.data.datasets import load_ytvis
from stpn.data.datasets.mask_rle import decode
from stpn.data.video import VideoIndex
from stpn.errors import InputError


def labelled(*videos):
    """videos: lists of category ids. -> what choose_videos looks at."""
    rows = [{"video_id": 3 * i, "category_id": key} for i, keys in enumerate(videos) for key in keys]
    return {"videos": [{"id": 3 * i} for i in range(len(videos))], "annotations": rows,
            "categories": [{"id": key} for key in range(6)]}


sets = st.lists(st.lists(st.integers(0, 5), max_size=3), min_size=2, max_size=30)


@settings(deadline=None, max_examples=60)
@given(sets, st.floats(0.05, 0.95), st.integers(0, 99))
def test_every_class_of_the_validation_part_is_trained_on(videos, share, seed):
    chosen = choose_videos(labelled(*videos), share=share, seed=seed)
    assert chosen == choose_videos(labelled(*videos), share=share, seed=seed)
    train, val = ({key for i, keys in enumerate(videos) if (3 * i in chosen) is part for key in keys}
                  for part in (False, True))
    assert val <= train and len(chosen) <= round(share * len(videos)) and len(chosen) < len(videos)


def test_share_is_reached_where_classes_allow_it_and_seeds_differ():
    what = labelled(*[[0, 1], [1]] * 20)
    found = [choose_videos(what, share=0.25, seed=seed) for seed in range(5)]
    assert {len(chosen) for chosen in found} == {10} and len(set(map(frozenset, found))) == 5


def doubled():
    """The small set with each video twice, so that one of each can be put aside."""
    what = content()
    for video in what["videos"][:2]:
        what["videos"].append({**video, "id": video["id"] + 100})
    for row in what["annotations"][:3]:
        what["annotations"].append({**row, "id": row["id"] + 100, "video_id": row["video_id"] + 100})
    return what


def test_parts_hold_each_video_once_with_its_masks(tmp_path):
    path = write_json(tmp_path / "train.json", doubled())
    paths = part_paths(path)
    write_parts(split_ytvis(path, share=0.5, seed=0), paths)
    parts = [json.loads(part.read_text()) for part in paths]
    assert sorted(v["id"] for part in parts for v in part["videos"]) == [2, 5, 102, 105]
    assert all(len(part["videos"]) == 2 for part in parts)
    assert all(part["info"] == {"year": 2019} and part["categories"] == content()["categories"] for part in parts)
    seen = 0
    for part in paths:
        for video in load_ytvis(part, "/x", name="x", video_index=VideoIndex())[0]:
            for t, frame in enumerate(video["annotations"]):
                for annotation in frame:
                    mask = decode(annotation["segmentation"], (video["height"], video["width"]))
                    assert np.array_equal(mask, shape(annotation["id"] % 100, t))
                    seen += 1
    assert seen == 18


@pytest.mark.parametrize("given_path, expected", [
    ("ytvis_2019/train.json", ("ytvis_2019/train_sub.json", "ytvis_2019/val_sub.json")),
    ("ytvis_2021/train/instances.json", ("ytvis_2021/train_sub.json", "ytvis_2021/val_sub.json")),
    ("ovis/annotations/annotations_train.json",
     ("ovis/annotations/annotations_train_sub.json", "ovis/annotations/annotations_val_sub.json"))])
def test_parts_lie_where_the_builtin_names_look_for_them(tmp_path, monkeypatch, given_path, expected):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    paths = part_paths(tmp_path / given_path)
    assert paths == tuple(tmp_path / name for name in expected)
    assert check_command(paths[1]) == f"python datasets/check.py {given_path.split('/')[0]}_val_sub"


@pytest.mark.parametrize("name", ["valid.json", "train_sub.json", "x.json"])
def test_only_the_train_part_is_split(tmp_path, name):
    with pytest.raises(InputError, match="is not called train.json"):
        part_paths(tmp_path / name)


@pytest.mark.parametrize("what, share, says", [
    ({**content(), "annotations": None}, 0.5, "has no annotations"), (doubled(), 1.0, "validation videos is 1"),
    (content(), 0.5, "nothing can be put aside"), ({**content(), "videos": 3}, 0.5, "videos is 3")])
def test_set_that_cannot_be_split_is_refused(tmp_path, what, share, says):
    if says.startswith("nothing"):  # each class in one video
        what = {**what, "annotations": [what["annotations"][1], what["annotations"][2]]}
    with pytest.raises(InputError, match=says):
        split_ytvis(write_json(tmp_path / "train.json", what), share=share, seed=0)


def test_script_counts_both_parts_and_refuses_to_overwrite(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    path = write_json(tmp_path / "ytvis_2019" / "train.json", doubled())
    main = load_script("datasets/prepare_ytvis_split.py").main
    main([str(path), "--val-share", "0.5"])
    out = capsys.readouterr().out
    assert out.count("2 videos, ") == 2 and "of the 2 classes" in out and "note:" not in out
    assert out.endswith("next: python datasets/check.py ytvis_2019_val_sub\n")
    parts = part_paths(path)
    before = [part.read_bytes() for part in parts]
    with pytest.raises(InputError, match="train_sub.json exists; replace it with --overwrite"):
        main([str(path)])
    main([str(path), "--val-share", "0.5", "--overwrite"])
    assert [part.read_bytes() for part in parts] == before
    main([str(path), "--val-share", "0.9", "--overwrite"])
    assert "note: val_sub has fewer videos than the 0.9 of 4" in capsys.readouterr().out


@pytest.mark.parametrize("folder, outputs", [
    ("clips/JPEGImages", ("a.json", "b.json")), ("JPEGImages", ("a.json", "parts/b.json")),
    ("JPEGImages", ("train_sub.json", "../b.json"))])
def test_own_set_of_any_name_is_split_into_files_that_find_its_pictures(tmp_path, capsys, folder, outputs):
    ytvis_files.write_pictures(tmp_path / "my set" / folder)
    path = write_json(tmp_path / "my set" / "clips.json", doubled())
    main, paths = load_script("datasets/prepare_ytvis_split.py").main, [path.parent / name for name in outputs]
    main([str(path), "--val-share", "0.5", "--output", *map(str, paths)])
    assert capsys.readouterr().out.count("2 videos, ") == 2
    for part in paths:
        index = VideoIndex()
        videos, _ = load_ytvis(part, name="x", video_index=index)
        for video in videos:
            assert [index.read(video["video_id"], t).tolist() for t in range(video["length"])] == [
                ytvis_files.picture(video["json_id"] % 100, t).tolist() for t in range(video["length"])]


@pytest.mark.parametrize("outputs, says", [
    (("a", "b.json"), "expected two names that end in .json"), (("a.json", "a.json"), "expected two files"),
    (("a.json", "clips.json"), "expected two files, neither of them"),
    (("a.json", "b.json"), "the picture clip5/00000.png of .*clips.json is not there")])
def test_own_split_that_cannot_be_made_is_refused(tmp_path, outputs, says):
    path = write_json(tmp_path / "clips.json", doubled())
    with pytest.raises(InputError, match=says):
        load_script("datasets/prepare_ytvis_split.py").main(
            [str(path), "--val-share", "0.5", "--output", *(str(tmp_path / name) for name in outputs)])
    assert [file.name for file in tmp_path.iterdir()] == ["clips.json"]


def test_failure_while_writing_leaves_the_old_parts(tmp_path):
    paths = part_paths(tmp_path / "train.json")
    for path in paths:
        path.write_text("old")
    with pytest.raises(AttributeError):
        write_parts(({"videos": []}, {"videos": [{"id": object()}]}), paths)
    assert [path.read_text() for path in paths] == ["old", "old"] and len(list(tmp_path.iterdir())) == 2


def test_own_split_finds_the_pictures_of_train(tmp_path):
    ytvis_files.write_pictures(tmp_path / "train" / "JPEGImages")
    path = write_json(tmp_path / "val_sub.json", content())
    _, metadata = load_ytvis(path, name="x", video_index=VideoIndex())
    assert metadata["image_root"] == str(tmp_path / "train" / "JPEGImages")
