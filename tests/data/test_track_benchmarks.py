"""LaSOT, OTB and TrackingNet in their own layouts, and what is wrong with copies of them."""

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from stpn.data import builtin
from stpn.data.datasets import load_lasot, load_otb, load_trackingnet
from stpn.data.missing import refuse_missing_frames
from stpn.data.video import VideoIndex
from stpn.errors import InputError


def write_pictures(folder, first, last, form="{:04d}.jpg"):
    """Pictures whose red is ten times their number."""
    folder.mkdir(parents=True)
    for number in range(first, last + 1):
        Image.new("RGB", (20, 10), (10 * number % 256, 0, 0)).save(folder / form.format(number), quality=95)


def write_lines(path, rows, between=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(between.join(map(str, row)) + "\n" for row in rows))


def boxes(length):
    return [(10 + t, 20, 5, 6) for t in range(length)]


def read(load, folder):
    """-> ({name: record}, metadata, VideoIndex)."""
    index = VideoIndex()
    records, metadata = load(folder, name="set", video_index=index)
    return {record["name"]: record for record in records}, metadata, index


def number_of(index, video_id, t):
    return round(float(index.read(video_id, t)[..., 0].mean()) / 10)


@pytest.fixture
def lasot(tmp_path):
    """Two sequences, one below the folder of its class; the target is hidden or out of view at times."""
    for path in ("airplane/airplane-1", "robot-arm-2"):
        write_pictures(tmp_path / path / "img", 1, 4, "{:08d}.jpg")
        write_lines(tmp_path / path / "groundtruth.txt", boxes(4))
    (tmp_path / "airplane/airplane-1/full_occlusion.txt").write_text("0,1,0,0")
    (tmp_path / "airplane/airplane-1/out_of_view.txt").write_text("0\n0\n0\n1\n")
    (tmp_path / "testing_set.txt").write_text("robot-arm-2\r\nairplane-1\r\n")
    return tmp_path


def test_lasot_is_read_in_the_order_of_its_list(lasot):
    records, metadata, index = read(load_lasot, lasot)
    assert list(records) == ["robot-arm-2", "airplane-1"] and metadata["has_labels"]
    plane = records["airplane-1"]
    assert plane["boxes"].tolist() == [list(map(float, box)) for box in boxes(4)]
    assert plane["absent"].tolist() == [False, True, False, True] and not records["robot-arm-2"]["absent"].any()
    assert plane["cover"] is None and (plane["width"], plane["height"], plane["video_length"]) == (20, 10, 4)
    assert [number_of(index, "set/airplane-1", t) for t in range(4)] == [1, 2, 3, 4]
    refuse_missing_frames(index, "x")


@pytest.mark.parametrize("name, text, says", [
    ("groundtruth.txt", "1,2,3,4\n" * 3, "groundtruth.txt:3: the file ends with this line; expected 4 lines"),
    ("groundtruth.txt", "1,2,3,4\n\n1,2,3,4\n1,2,3,4\n", "groundtruth.txt:2: is empty"),
    ("full_occlusion.txt", "0,1,0", "full_occlusion.txt:3: the file ends with this line; expected 4"),
    ("full_occlusion.txt", "0,1,0,2", "is 2; expected a whole number in 0..1"),
    ("full_occlusion.txt", "0,1\n0,1\n", "full_occlusion.txt:1: has 2 columns; expected 1")])  # fmt: skip
def test_faults_in_lasots_labels_are_told_with_their_place(lasot, name, text, says):
    (lasot / "airplane/airplane-1" / name).write_text(text)
    with pytest.raises(InputError) as error:
        read(load_lasot, lasot)
    assert says in str(error.value) and "airplane-1" in str(error.value)


def test_lasots_list_says_what_is_missing(lasot):
    (lasot / "testing_set.txt").write_text("airplane-1\nairplane-15\n")
    with pytest.raises(InputError, match="testing_set.txt:2: there is no folder airplane/airplane-15"):
        read(load_lasot, lasot)
    (lasot / "testing_set.txt").unlink()
    with pytest.raises(FileNotFoundError, match="testing_set.txt; expected the names of the 280 test sequences"):
        read(load_lasot, lasot)


@pytest.mark.parametrize("between", [",", "\t", " "])
def test_otb_counts_pixels_from_one_whatever_separates_them(tmp_path, between):
    write_pictures(tmp_path / "Car1/img", 1, 3)
    write_lines(tmp_path / "Car1/groundtruth_rect.txt", boxes(3), between)
    records, metadata, index = read(load_otb, tmp_path)
    assert records["Car1"]["boxes"].tolist() == [[9 + t, 19, 5, 6] for t in range(3)]
    assert not records["Car1"]["absent"].any() and records["Car1"]["cover"] is None and metadata["has_labels"]


def test_otb_sequences_with_two_targets_are_two(tmp_path):
    for name in ("Jogging", "Human4"):
        write_pictures(tmp_path / name / "img", 1, 3)
        for number in (1, 2):
            write_lines(tmp_path / name / f"groundtruth_rect.{number}.txt", [(number + 1, 1, 2, 3)] * 3)
    (tmp_path / "readme").mkdir()
    records, _, index = read(load_otb, tmp_path)
    assert {name: record["boxes"][0, 0] for name, record in records.items()} == {
        "Human4": 2, "Jogging-1": 1, "Jogging-2": 2}
    assert index.path("set/Jogging-1", 2) == index.path("set/Jogging-2", 2)


@pytest.mark.parametrize("name, pictures, lines, first, last", [
    ("David", (1, 770), 471, 300, 770),  # labels from picture 300 on
    ("Football1", (1, 80), 74, 1, 74), ("Freeman3", (1, 470), 460, 1, 460), ("Freeman4", (1, 290), 283, 1, 283),
    ("Diving", (1, 231), 231, 1, 215),  # labels of all pictures, of which a part counts
    ("Tiger1", (1, 354), 354, 6, 354), ("Tiger1", (1, 354), 349, 6, 354),
    ("BlurCar1", (247, 251), 5, 247, 251)])  # fmt: skip
def test_otb_labels_belong_to_the_pictures_that_the_benchmark_counts(tmp_path, name, pictures, lines, first, last):
    folder = tmp_path / name / "img"
    folder.mkdir(parents=True)
    for number in range(pictures[0], pictures[1] + 1):
        (folder / f"{number:04d}.jpg").touch()
    Image.new("RGB", (20, 10)).save(folder / f"{first:04d}.jpg")
    write_lines(tmp_path / name / "groundtruth_rect.txt", boxes(lines))
    records, _, index = read(load_otb, tmp_path)
    start = first - pictures[0] if lines == pictures[1] - pictures[0] + 1 else 0
    assert records[name]["boxes"][:, 0].tolist() == [9 + start + t for t in range(last - first + 1)]
    assert index.path(f"set/{name}", 0).endswith(f"{first:04d}.jpg")
    assert index.path(f"set/{name}", last - first).endswith(f"{last:04d}.jpg")


def test_otb_labels_of_another_number_than_the_pictures_are_refused(tmp_path):
    write_pictures(tmp_path / "Car1/img", 1, 3)
    write_lines(tmp_path / "Car1/groundtruth_rect.txt", boxes(2))
    with pytest.raises(InputError, match="has 2 lines; expected 3, for the pictures 1 to 3 in .*Car1/img"):
        read(load_otb, tmp_path)


def test_trackingnet_knows_the_first_box_alone(tmp_path):
    write_pictures(tmp_path / "frames/a-b_0", 0, 11, "{:d}.jpg")
    write_lines(tmp_path / "anno/a-b_0.txt", [(1.5, 2, 3, 4)])
    records, metadata, index = read(load_trackingnet, tmp_path)
    record = records["a-b_0"]
    assert record["boxes"][0].tolist() == [1.5, 2, 3, 4] and np.isnan(record["boxes"][1:]).all()
    assert not metadata["has_labels"] and record["video_length"] == 12
    assert [number_of(index, "set/a-b_0", t) for t in (0, 9, 10, 11)] == [0, 9, 10, 11]
    (tmp_path / "frames/a-b_0/0.jpg").unlink()
    with pytest.raises(InputError, match="image not found"):
        read(load_trackingnet, tmp_path)
    write_lines(tmp_path / "anno/a-b_0.txt", [(1, 2, 3, 4)] * 2)
    with pytest.raises(InputError, match=r"a-b_0.txt:2: is one line too many of 2; expected 1"):
        read(load_trackingnet, tmp_path)


@pytest.mark.parametrize("name, folder, load, hidden", [
    ("lasot_test", "LaSOT", 280, False), ("otb100", "OTB100", 100, False),
    ("trackingnet_test", "TrackingNet", 511, True)])  # fmt: skip
def test_benchmarks_are_known_by_name(tmp_path, monkeypatch, caplog, lasot, name, folder, load, hidden):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "sets"))
    root = tmp_path / "sets" / folder
    root.mkdir(parents=True)
    if name == "lasot_test":
        for path in ("airplane", "robot-arm-2", "testing_set.txt"):
            (lasot / path).rename(root / path)
    elif name == "otb100":
        write_pictures(root / "Car1/img", 1, 2)
        write_lines(root / "Car1/groundtruth_rect.txt", boxes(2))
    else:
        write_pictures(root / "TEST/frames/a", 0, 1, "{:d}.jpg")
        write_lines(root / "TEST/anno/a.txt", boxes(1))
    builtin.ensure_registered([name])
    records, metadata = DatasetCatalog.get(name), MetadataCatalog.get(name)
    assert metadata.evaluator_type == "ope" and metadata.has_labels is not hidden
    assert f"sequences here; the whole set has {load}" in caplog.text and len(records) in (1, 2)
