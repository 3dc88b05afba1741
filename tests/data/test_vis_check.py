"""datasets/check.py on sets in YouTube-VIS form."""

import numpy as np
import pytest
import ytvis_files
from load_script import load_script
from plain_sets import write_json
from ytvis_files import as_list, changed, content, shape

from stpn.data.check import report
from stpn.data.check.checking import check
from stpn.data.check.contact_sheet import tint, track_color
from stpn.data.check.problems import KINDS, LEAVES_OUT, STOPS
from stpn.data.check.sets import open_set
from stpn.data.check.vis import VisSet
from stpn.errors import InputError, PartialResult

RLE = as_list(shape(11, 0))


@pytest.fixture
def checked(tmp_path):
    """checked(content) -> (Result, the set), its pictures beside it."""
    ytvis_files.write_pictures(tmp_path / "JPEGImages")

    def run(what):
        found = VisSet(write_json(tmp_path / "train.json", what), name="my_set/train")
        return check(found, sample=None), found

    return run


def test_sound_set_has_no_problem_and_the_counts_of_a_plain_recount(checked):
    result, found = checked(content())
    assert result.findings.by_kind == {} and result.decoded == 7 and found.classes == ["ball", "cup"]
    counts = result.counts
    assert counts.lengths == {"5 (clip5)": 4, "2 (clip2)": 3} and counts.tracks == 3 and counts.empty == 1
    assert counts.boxes == {"ball": 5, "cup": 4}
    assert "frames   7; labelled 7, of these without an object 1 (training draws them, too)" in counts.lines()


@pytest.mark.parametrize("change, kind, where", [
    ({"annotations__0__segmentations__2": {**RLE, "size": [32, 24]}}, "size", "annotations[0].segmentations[2].size"),
    ({"annotations__0__segmentations__2": {**RLE, "counts": [3]}}, "structure",
     "annotations[0].segmentations[2].counts"),
    ({"annotations__1__segmentations__0": {"size": [24, 32], "counts": [768]}}, "mask empty",
     "annotations[1].segmentations[0]"),
    ({"annotations__2__segmentations__0": [[1, 1, 5, 5]]}, "polygon", "annotations[2].segmentations[0]"),
    ({"annotations__1__segmentations": [None, None, [], None]}, "track unseen", "annotations[1].segmentations"),
    ({"annotations__1__category_id": 9}, "unknown class", "annotations[1].category_id"),
    ({"annotations__1__video_id": 9}, "unknown id", "annotations[1].video_id"),
    ({"annotations__1__id": 11}, "duplicate id", "annotations[1].id"),
    ({"annotations__1__iscrowd": "no"}, "structure", "annotations[1].iscrowd"),
    ({"videos__1__length": 9}, "structure", "videos[1].length")])
def test_planted_problem_is_found_with_its_place(checked, change, kind, where):
    result, _ = checked(changed(**change))
    found = result.findings.by_kind.pop(kind)
    assert [problem.where for problem in found][0] == where and len(found) == 1
    assert KINDS[kind].effect in (STOPS, LEAVES_OUT)
    # A mask all of whose polygons are dropped is empty as well.
    assert set(result.findings.by_kind) <= {"mask empty"}


def test_problems_of_all_stages_are_found_with_their_places_in_the_file(checked):
    what = changed(annotations__0__iscrowd=5, annotations__1__category_id=9)
    what["annotations"][2]["segmentations"][1] = {"size": [9, 9], "counts": [81]}
    what["videos"].append({**what["videos"][1], "id": "x"})
    what["annotations"].append({**content()["annotations"][2], "id": 14, "segmentations": [[[1, 2]], None, None]})
    result, found = checked(what)
    places = {problem.where for problems in result.findings.by_kind.values() for problem in problems}
    assert places == {"annotations[0].iscrowd", "annotations[1].category_id", "videos[2].id",
                      "annotations[2].segmentations[1].size", "annotations[3].segmentations[0]"}
    assert "entries  4 with a problem, or that belong to one, are not counted above" in found.notes()


def test_annotations_of_a_broken_video_are_not_called_strays(checked):
    result, found = checked(changed(videos__1__width=0))
    assert {kind: [p.where for p in problems] for kind, problems in result.findings.by_kind.items()} == {
        "structure": ["videos[1].width"]}
    assert result.counts.tracks == 2 and "entries  2 with a problem" in found.notes()[0]


def test_missing_damaged_and_wrongly_sized_pictures_are_found(checked, tmp_path):
    folder = tmp_path / "JPEGImages" / "clip2"
    (folder / "00010.png").unlink()
    (folder / "00005.png").write_bytes((folder / "00005.png").read_bytes()[:40])
    (folder / "00000.png").write_bytes((tmp_path / "JPEGImages" / "clip5" / "00000.png").read_bytes())
    result, _ = checked(content())
    assert {kind: [problem.where for problem in problems] for kind, problems in result.findings.by_kind.items()} == {
        "missing picture": [str(folder / "00010.png")], "unreadable picture": [str(folder / "00005.png")],
        "size": [str(folder / "00000.png")]}
    assert result.decoded == 5


def test_crowds_are_counted_apart_and_no_problem(checked):
    result, _ = checked(changed(annotations__0__iscrowd=1))
    assert result.findings.by_kind == {} and result.counts.crowds == 3 and result.counts.boxes["ball"] == 2


@pytest.mark.parametrize("labels", [{}, {"annotations": None}])
def test_set_without_labels_is_no_problem_and_its_pictures_are_decoded_and_drawn(checked, tmp_path, labels):
    what = content()
    del what["annotations"]
    result, found = checked({**what, **labels})
    assert result.findings.by_kind == {} and result.decoded == 7 and result.counts.labelled.total() == 0
    assert found.notes() == ["labels   hidden: the set is for testing, not for training"]
    assert report.text(found, result).splitlines() == [
        f"my_set/train: YouTube-VIS form, {found.place}", "", "videos   2", "frames   7",
        "pictures 32x24 (4), 30x40 (3)", "", "decoded  7 of the 7 pictures", *found.notes(), "", "no problems"]
    assert report.draw(tmp_path / "sheet.png", found, result.counts) == 7
    (tmp_path / "JPEGImages" / "clip2" / "00005.png").write_bytes(
        (tmp_path / "JPEGImages" / "clip5" / "00000.png").read_bytes())
    assert list(check(found, sample=None).findings.by_kind) == ["size"]


def test_labelled_set_without_an_object_is_said_to_have_nothing_to_learn(tmp_path, monkeypatch, capsys):
    """Training goes on, and only warns: it draws frames without objects, too."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    write_json(tmp_path / "x.json", {**content(), "annotations": []})
    ytvis_files.write_pictures(tmp_path / "JPEGImages")
    with pytest.raises(PartialResult, match="^x has 1 problem: 1 where training has nothing to learn$"):
        load_script("datasets/check.py").main(["x", "--output", str(tmp_path / "out")])
    out = capsys.readouterr().out
    assert "x.json: no object in any frame: there is nothing to learn\n" in out and "left out" not in out


@pytest.mark.parametrize("text, says", [("{", "is not JSON"), ("[]", "holds"), ('{"videos": [1]}', "categories is")])
def test_file_that_is_no_set_at_all_is_an_input_error(tmp_path, text, says):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=f"x.json:? {says}"):
        VisSet(tmp_path / "x.json", name="x")


def test_tint_colours_the_mask_and_nothing_else():
    image = np.full((24, 32, 3), 100, np.uint8)
    mask, color = shape(11, 1), np.array(track_color(11))
    tinted = tint(image, [(as_list(mask), 11)])
    assert (tinted[~mask] == 100).all() and (tinted[mask] == (color + 100) // 2).all() and (image == 100).all()


def test_script_writes_report_and_picture_and_says_by_its_code_whether_training_works(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    ytvis_files.write_pictures(tmp_path / "ytvis_2019" / "train" / "JPEGImages")
    write_json(tmp_path / "ytvis_2019" / "train.json", content())
    script = load_script("datasets/check.py")
    for name in ("ytvis_2019_train", "ytvis_2019/train"):
        script.main([name, "--output", str(tmp_path / "out")])
        assert "no problems" in capsys.readouterr().out
        assert (tmp_path / "out" / f"{name.replace('/', '_')}.png").is_file()
    write_json(tmp_path / "ytvis_2019" / "train.json", changed(annotations__0__segmentations__2=3))
    with pytest.raises(PartialResult, match="ytvis_2019_train has 1 problem"):
        script.main(["ytvis_2019_train", "--output", str(tmp_path / "out")])


def test_folder_with_a_line_end_in_its_name_can_be_drawn(tmp_path):
    what = content()
    for video in what["videos"]:
        video["file_names"] = [name.replace("clip", "cl\nip") for name in video["file_names"]]
    for name in ("clip2", "clip5"):
        (ytvis_files.write_pictures(tmp_path / "JPEGImages") / name).rename(
            tmp_path / "JPEGImages" / name.replace("clip", "cl\nip"))
    found = VisSet(write_json(tmp_path / "train.json", what), name="x")
    result = check(found, sample=0)
    assert result.findings.by_kind == {} and report.draw(tmp_path / "sheet.png", found, result.counts) == 6


def test_sheet_shows_the_masks(checked, tmp_path):
    from PIL import Image
    result, found = checked(content())
    assert report.draw(tmp_path / "sheet.png", found, result.counts) == 6
    pixels = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).reshape(-1, 3)
    tinted = (np.array(ytvis_files.COLOR[13]) + track_color(13)) // 2
    assert (np.abs(pixels - tinted).max(axis=1) < 3).sum() > 500


def test_ytvis_mini_has_the_counts_of_its_sources_and_no_problem(sample_data_dir, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(sample_data_dir))
    tracks = frames = 0
    for name in ("ytvis_mini_train", "ytvis_mini_val"):
        result = check(open_set(name), sample=6)
        assert result.findings.count(STOPS, LEAVES_OUT) == 0
        tracks, frames = tracks + result.counts.tracks, frames + sum(result.counts.lengths.values())
    assert (tracks, frames) == (30, 189)
