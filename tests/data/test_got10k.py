"""GOT-10k's layout, and what is found in real copies of it: every fault is told with file and line."""

import pickle
import re

import numpy as np
import pytest
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from track_sets import SIZE, lines, load, write_sequence, write_set

from stpn import add_stpn_config
from stpn.data import builtin
from stpn.data.agreement import refuse_other_task
from stpn.data.missing import refuse_missing_frames
from stpn.errors import InputError

BOXES = np.array([[1, 2, 10, 12], [2.5, 3, 10, 12], [4, 4, 9.125, 12]])


@pytest.fixture
def folder(tmp_path):
    """A set of one sequence of three frames, with a name that means something to str.format."""
    root = tmp_path / "set {0}"
    write_sequence(root / "S1", BOXES, absence=[0, 0, 1], cover=[8, 3, 0])
    (root / "list.txt").write_text("S1\n")
    return root


def test_a_sequence_is_read_as_it_is_written(folder):
    (record,), metadata, index = load(folder)
    assert record["boxes"].dtype == np.float64 and record["boxes"].tolist() == BOXES.tolist()
    assert record["absent"].tolist() == [False, False, True] and record["cover"].tolist() == [8, 3, 0]
    assert (record["width"], record["height"]) == SIZE and record["video_length"] == 3
    assert record["video_id"] == "x/val/S1" and record["name"] == "S1" and metadata["has_labels"]
    assert index.paths("x/val/S1") == [str(folder / "S1" / f"0000000{n}.jpg") for n in (1, 2, 3)]
    assert record["file_name"] == index.path("x/val/S1", 0)
    assert abs(int(index.read("x/val/S1", 2)[0, 0, 0]) - 3) <= 1
    assert pickle.loads(pickle.dumps(index)).paths("x/val/S1") == index.paths("x/val/S1")


@pytest.mark.parametrize("change", [
    lambda text: text.replace(",", "\t"),
    lambda text: text.replace(",", " "),
    lambda text: text.replace(",", ", "),
    lambda text: text.replace("\n", "\r\n"),
    lambda text: "\ufeff" + text,
    lambda text: text + "\n \n",
    lambda text: text.strip(),
], ids=["tab", "space", "comma and space", "windows", "byte order mark", "empty end", "no last newline"])  # fmt: skip
def test_other_ways_to_write_the_same_boxes(folder, change):
    path = folder / "S1/groundtruth.txt"
    path.write_text(change(path.read_text()), encoding="utf-8", newline="")
    assert load(folder)[0][0]["boxes"].tolist() == BOXES.tolist()


WRONG = {
    "an empty line between others": ("1,2,3,4\n\n1,2,3,4\n", ":2: is empty"),
    "an empty first line": ("\n1,2,3,4\n1,2,3,4\n", ":1: is empty"),
    "a column too few": ("1,2,3,4\n1,2,3\n1,2,3,4\n", ":2: has 3 columns; expected 4"),
    "an empty field": ("1,2,3,4\n1,,3,4\n1,2,3,4\n", ":2: has 3 columns"),
    "text": ("1,2,3,4\n1,2,3,4\n1,x,3,4\n", ":3: holds 'x'; expected a number"),
    "NaN in part": ("1,2,3,4\nnan,2,3,4\n1,2,3,4\n", ":2: has numbers that are not finite"),
    "NaN where the target is seen": ("1,2,3,4\nnan,nan,nan,nan\n1,2,3,4\n",
                                     ":2: is NaN, but cover.label says that the target is seen"),
    "infinity": ("1,2,3,4\n1,2,3,4\n1,2,inf,4\n", ":3: has numbers that are not finite"),
    "a line too few": ("1,2,3,4\n1,2,3,4\n", ":2: the file ends with this line; expected 3 lines"),
    "a line too many": ("1,2,3,4\n" * 4, ":4: is one line too many of 4, or the last picture is missing; expected 3"),
    "two lines too many": ("1,2,3,4\n" * 5, ":4: here begin 2 lines too many, or the last pictures are missing; exp"),
    "nothing": ("", ":1: is empty"),
}


@pytest.mark.parametrize("text, told", WRONG.values(), ids=WRONG)
def test_boxes_that_cannot_be_used_are_told_with_their_line(folder, text, told):
    (folder / "S1/groundtruth.txt").write_text(text)
    with pytest.raises(InputError) as error:
        load(folder)
    assert f"S1/groundtruth.txt{told}" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name, text, told", [
    ("cover.label", "8\n9\n0\n", ":2: is 9; expected a whole number in 0..8"),
    ("absence.label", "0\n0\n2\n", ":3: is 2; expected a whole number in 0..1"),
    ("absence.label", "0\n0.5\n1\n", ":2: is 0.5"),
    ("cover.label", "8\n8\n", ":2: the file ends with this line; expected 3 lines, as groundtruth.txt has 3"),
    ("cover.label", "8\n8\nnan\n", ":3: is nan"),
])  # fmt: skip
def test_flags_that_cannot_be_used_are_told_with_their_line(folder, name, text, told):
    (folder / "S1" / name).write_text(text)
    with pytest.raises(InputError) as error:
        load(folder)
    assert f"S1/{name}{told}" in str(error.value)


def test_a_line_of_nan_is_a_frame_without_the_target(folder):
    (folder / "S1/groundtruth.txt").write_text("1,2,3,4\n1,2,3,4\nnan,nan,NaN,nan\n")
    (record,), _, _ = load(folder)
    assert record["boxes"][2].tolist() == [0, 0, 0, 0] and record["absent"].tolist() == [False, False, True]
    for name in ("absence.label", "cover.label"):
        (folder / "S1" / name).unlink()
    (record,), _, _ = load(folder)
    assert record["absent"].tolist() == [False, False, True] and record["cover"] is None


@pytest.mark.parametrize("labelled", [True, False])
def test_pictures_numbered_from_0_are_told_as_such(folder, labelled):
    for number in (1, 2, 3):
        (folder / f"S1/0000000{number}.jpg").rename(folder / f"S1/0000000{number - 1}.jpg")
    with pytest.raises(InputError, match=f"{re.escape(str(folder))}/S1: pictures are numbered from 0; expected from "
                                         "00000001"):
        load(folder, labelled=labelled)


def test_without_meta_the_size_is_that_of_the_first_picture(folder):
    for text in (None, "resolution: \n", "resolution: (0, 0)\n"):
        (folder / "S1/meta_info.ini").unlink() if text is None else (folder / "S1/meta_info.ini").write_text(text)
        (record,), _, _ = load(folder)
        assert (record["width"], record["height"]) == SIZE


def test_the_size_in_meta_counts_as_in_the_toolkit(folder):
    (folder / "S1/meta_info.ini").write_text("[METAINFO]\nurl: a: b\nresolution: (1920, 1080)\n")
    assert (load(folder)[0][0]["width"], load(folder)[0][0]["height"]) == (1920, 1080)


def test_without_a_list_the_folders_count_in_sorted_order(tmp_path, caplog):
    write_set(tmp_path, [2, 3, 4])
    (tmp_path / "list.txt").write_text("S3\r\nS1\n\n")
    assert [record["name"] for record in load(tmp_path)[0]] == ["S3", "S1"]
    (tmp_path / "list.txt").unlink()
    (tmp_path / ".hidden").mkdir()
    assert [record["name"] for record in load(tmp_path)[0]] == ["S1", "S2", "S3"]
    load(tmp_path)
    assert caplog.text.count("list.txt is missing: taken are the 3 folders") == 1  # once in a process


@pytest.mark.parametrize("text, told", [("S1\nS9\n", ":2: there is no folder S9"), ("S1\nS1\n", ":2: S1 stands in an"),
                                        ("../x\n", ":1: '../x' is no name"), ("..\n", ":1: '..' is no name")])
def test_a_list_that_cannot_be_used_is_told_with_its_line(folder, text, told):
    (folder / "list.txt").write_text(text)
    with pytest.raises(InputError) as error:
        load(folder)
    assert f"list.txt{told}" in str(error.value)


def test_faults_of_all_sequences_are_listed(tmp_path, caplog):
    write_set(tmp_path, [2, 2, 2, 2])
    (tmp_path / "S2/groundtruth.txt").write_text("1,2,3\n1,2,3\n")
    (tmp_path / "S4/groundtruth.txt").unlink()
    with pytest.raises(InputError, match=r"S2/groundtruth.txt:1: .* \(and in 1 more lines.*faults in 2 sequences"):
        load(tmp_path)
    assert "S2/groundtruth.txt:1" in caplog.text and "label file not found" in caplog.text


def test_of_hidden_labels_the_first_box_is_known(folder):
    (folder / "S1/groundtruth.txt").write_text(lines(BOXES[:1]))
    for name in ("absence.label", "cover.label", "meta_info.ini"):
        (folder / "S1" / name).unlink()
    (record,), metadata, index = load(folder, labelled=False)
    assert record["boxes"].shape == (3, 4) and record["boxes"][0].tolist() == BOXES[0].tolist()
    assert np.isnan(record["boxes"][1:]).all() and record["cover"] is None and not metadata["has_labels"]
    assert index.length("x/val/S1") == 3
    with pytest.raises(InputError, match="groundtruth.txt:1: the file ends with this line; expected 3 lines"):
        load(folder)  # as a set with labels
    (folder / "S1/groundtruth.txt").write_text("1,2,0,4\n")
    with pytest.raises(InputError, match="groundtruth.txt:1: is no box to track"):
        load(folder, labelled=False)


def test_pictures_are_needed_where_nothing_else_tells_length_or_size(folder):
    for picture in folder.glob("S1/*.jpg"):
        picture.unlink()
    assert load(folder)[0][0]["video_length"] == 3
    with pytest.raises(InputError, match="S1 has no pictures"):
        load(folder, labelled=False)
    (folder / "S1/meta_info.ini").unlink()
    with pytest.raises(InputError, match="00000001.jpg"):
        load(folder)


@pytest.mark.parametrize("number", [1, 2])
def test_a_missing_picture_moves_no_other_frame(folder, number):
    (folder / f"S1/0000000{number}.jpg").unlink()
    _, _, index = load(folder)
    assert index.path("x/val/S1", 2).endswith("00000003.jpg")
    with pytest.raises(InputError, match=f"1 of 3 files.*0000000{number}.jpg"):
        refuse_missing_frames(index, "x")


def test_pictures_of_another_format_are_found(folder):
    for picture in folder.glob("S1/*.jpg"):
        Image.open(picture).save(picture.with_suffix(".png"))
        picture.unlink()
    _, _, index = load(folder)
    refuse_missing_frames(index, "x")
    assert index.path("x/val/S1", 0).endswith("00000001.png")


def test_a_missing_set_is_told_with_its_path(monkeypatch, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    builtin.ensure_registered(["got10k_val"])
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/got10k or {tmp_path}/GOT-10k"):
        DatasetCatalog.get("got10k_val")
    (tmp_path / "GOT-10k").mkdir()
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/GOT-10k/val"):
        DatasetCatalog.get("got10k_val")


def test_an_incomplete_copy_of_an_official_part_is_told(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    write_set(tmp_path / "got10k/val", [2])
    builtin.ensure_registered(["got10k_val"])
    (record,) = DatasetCatalog.get("got10k_val")
    assert record["video_id"] == "got10k/val/S1" and "has 1 sequences here; the whole set has 180" in caplog.text
    assert MetadataCatalog.get("got10k_val").evaluator_type == "got10k"


def test_got10k_mini_is_read_whole(sample_data_dir, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(sample_data_dir))
    builtin.register_all()
    lengths = {}
    for part in ("train", "val"):
        records = DatasetCatalog.get(f"got10k_mini_{part}")
        lengths[part] = [record["video_length"] for record in records]
        index = MetadataCatalog.get(f"got10k_mini_{part}").video_index
        refuse_missing_frames(index, part)
        for record in records:
            image = index.read(record["video_id"], record["video_length"] - 1)
            assert image.shape == (record["height"], record["width"], 3)
            assert (record["boxes"][:, 2:] > 0).all() and (record["cover"] == 8).all() and not record["absent"].any()
    assert lengths == {"train": [32] * 4, "val": [64, 60, 49]}


@pytest.mark.parametrize("architecture", ["VideoObjectDetector", "VideoInstanceSegmenter"])
def test_a_tracking_set_is_refused_for_models_of_other_tasks(architecture):
    cfg = get_cfg()
    add_stpn_config(cfg)
    cfg.MODEL.META_ARCHITECTURE = architecture
    builtin.register_all()
    with pytest.raises(InputError, match="got10k_val has tracking sequences"):
        refuse_other_task(cfg, ["got10k_val"])
