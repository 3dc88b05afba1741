"""results.json and results.zip: what is written reads back; all that is wrong with a file is listed."""

import json
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tube_sets import content, random_set, result, tube

from stpn.errors import InputError
from stpn.evaluation.ytvis_results import read_results, write_results, write_submission
from stpn.evaluation.ytvis_truth import load_ytvis_truth

SIZE = (6, 8)


@pytest.fixture
def truth(tmp_path):
    """Videos 1 (2 frames) and 4 (1 frame), labels hidden."""
    (tmp_path / "set.json").write_text(json.dumps(content({1: (2, *SIZE), 4: (1, *SIZE)}, None)))
    return load_ytvis_truth(tmp_path / "set.json")


GOOD = [result(1, 2, 0.5, tube(SIZE, (1, 1, 3, 3), None)), result(4, 5, 0.25, tube(SIZE, (0, 0, 2, 2)))]


def problems_of(path, truth, caplog, **options):
    """-> (one-line error, all problems as logged)."""
    caplog.clear()
    with pytest.raises(InputError) as error:
        read_results(path, truth, **options)
    return str(error.value), [record.message for record in caplog.records]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), packed=st.booleans())
def test_what_is_written_reads_back_bit_by_bit(seed, packed, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    whole, results = random_set(seed)
    (folder / "set.json").write_text(json.dumps(whole))
    write_results(folder / "results.json", results)
    if packed:
        write_submission(folder / "results.zip", folder / "results.json")
    found = read_results(folder / ("results.zip" if packed else "results.json"),
                         load_ytvis_truth(folder / "set.json"), all_videos=True)
    assert found == results


def test_the_submission_holds_results_json_alone_and_depends_on_nothing_else(tmp_path):
    packed = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        write_results(folder / "results.json", GOOD)
        write_submission(folder / "results.zip", folder / "results.json")
        packed.append((folder / "results.zip").read_bytes())
        with zipfile.ZipFile(folder / "results.zip") as archive:
            assert archive.namelist() == ["results.json"] and json.loads(archive.read("results.json")) == GOOD
        assert sorted(file.name for file in folder.iterdir()) == ["results.json", "results.zip"]
    assert packed[0] == packed[1]


RLE = GOOD[0]["segmentations"][0]


@pytest.mark.parametrize("change, words", [
    ({"video_id": 2}, "video_id is 2, which the data set does not know; its ids are 1, 4"),
    ({"video_id": "1"}, "video_id is '1'"),
    ({"video_id": True}, "video_id is True"),
    ({"category_id": 0}, "category_id is 0, .* its ids are 2, 5, 9"),
    ({"score": float("nan")}, "score is nan; expected a finite number"),
    ({"score": float("inf")}, "score is inf"),
    ({"score": "0.5"}, "score is '0.5'"),
    ({"segmentations": [None]}, "segmentations have 1 entries; expected 2, one per frame of video 1"),
    ({"segmentations": None}, "segmentations have None; expected 2"),
    ({"segmentations": [None, {**RLE, "size": [8, 6]}]}, r"segmentations.1..size is \[8, 6\]; .* \[6, 8\]"),
    ({"segmentations": [{**RLE, "counts": [8, 40]}, None]}, r"segmentations.0. is .* a compressed RLE"),
    ({"segmentations": [{**RLE, "counts": RLE["counts"][:-1] + "o"}, None]}, r"segmentations.0..counts is not run"),
    ({"segmentations": [{**RLE, "counts": "1"}, None]}, r"segmentations.0..counts has runs over 1 pixels"),
    ({"segmentations": [{**RLE, "counts": "mask"}, None]}, r"segmentations.0..counts"),
    ({"segmentations": [[[1, 1, 4, 1, 4, 4]], None]}, "segmentations.0. is .* expected null or a compressed RLE"),
])  # fmt: skip
def test_a_record_that_cannot_be_used_is_named_with_its_number(change, words, truth, tmp_path, caplog):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([GOOD[1], {**GOOD[0], **change}]))
    with pytest.raises(InputError, match=f"results.json: record 1: {words}"):
        read_results(path, truth)


@pytest.mark.parametrize("name", ["video_id", "score", "category_id", "segmentations"])
def test_a_record_without_one_of_its_keys_is_named(name, truth, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps([{k: v for k, v in GOOD[0].items() if k != name}]))
    with pytest.raises(InputError, match="record 0: is .* expected an object with video_id, score"):
        read_results(tmp_path / "results.json", truth)


def test_all_problems_of_a_submission_are_listed(truth, tmp_path, caplog):
    """Video 4 has a record, though a wrong one: it is not missing."""
    rows = [{**GOOD[1], "segmentations": []}, {**GOOD[1], "video_id": 9}, [3]]
    with zipfile.ZipFile(tmp_path / "results.zip", "w") as archive:
        archive.writestr("notes.txt", "mine")
        archive.writestr("results.json", json.dumps(rows))
        archive.writestr("__MACOSX/._results.json", "")
    error, listed = problems_of(tmp_path / "results.zip", truth, caplog, all_videos=True)
    starts = ["holds notes.txt; expected results.json and nothing else", "holds __MACOSX/._results.json",
              "record 0: segmentations have 0 entries; expected 1", "record 1: video_id is 9", "record 2: is [3]",
              "video 1 has no record; if nothing was found in it, say so with --allow-empty-videos"]
    assert len(listed) == len(starts)
    assert all(line.startswith(f"{tmp_path}/results.zip: {start}") for line, start in zip(listed, starts))
    assert error == f"{listed[0]} (6 problems, all listed above)"


def test_videos_without_a_record_are_legal_unless_all_are_asked_for(truth, tmp_path, caplog):
    write_results(tmp_path / "results.json", GOOD[:1])
    assert read_results(tmp_path / "results.json", truth) == GOOD[:1]
    error, listed = problems_of(tmp_path / "results.json", truth, caplog, all_videos=True)
    assert "video 4 has no record" in error and listed == []  # one problem needs no list
    write_results(tmp_path / "results.json", [])
    assert read_results(tmp_path / "results.json", truth) == []
    assert "holds no record" in problems_of(tmp_path / "results.json", truth, caplog, all_videos=True)[0]


@pytest.mark.parametrize("rows, number", [
    ([GOOD[0], GOOD[0], GOOD[1]], 1),
    ([*GOOD, *GOOD], 2),
    ([{**GOOD[0], "track": 3}, GOOD[1], {**GOOD[0], "track": 3}], 2),
    ([{**GOOD[0], "track": "a"}, {**GOOD[0], "track": ["b"]}], 1),  # another program's, which means nothing here
])  # fmt: skip
def test_a_record_that_is_there_twice_is_refused_with_its_number(rows, number, truth, tmp_path):
    write_results(tmp_path / "results.json", rows)
    with pytest.raises(InputError, match=f"record {number}: repeats record 0, .* if they are two tracks"):
        read_results(tmp_path / "results.json", truth)


def test_equal_records_of_different_tracks_are_no_repeat(truth, tmp_path):
    write_results(tmp_path / "results.json", [{**GOOD[0], "track": 3}, {**GOOD[0], "track": 4}, GOOD[1], GOOD[0]])
    assert read_results(tmp_path / "results.json", truth) == [GOOD[0], GOOD[0], GOOD[1], GOOD[0]]


def zipped(path, *names, content=b"[]"):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("make, words", [
    (lambda f: zipped(f / "a.zip", "sub/results.json"), "a.zip: holds sub/results.json"),
    (lambda f: zipped(f / "a.zip"), "a.zip: holds results.json 0 times; expected it once, at its top"),
    (lambda f: zipped(f / "a.zip", "results.json", content=b"\xff\xfe"), "results.json is not text"),
    (lambda f: zipped(f / "a.zip", "results.json", content=b'[{"video_id": 1'), "results.json ends inside record 0"),
    (lambda f: f, "is a folder; expected a JSON file"),
])  # fmt: skip
def test_a_file_that_holds_no_results_is_refused(make, words, truth, tmp_path):
    with pytest.raises(InputError, match=words):
        read_results(make(tmp_path), truth)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_two_results_or_damage_is_refused(truth, tmp_path):
    with pytest.raises(InputError, match="holds results.json 2 times"):
        read_results(zipped(tmp_path / "a.zip", "results.json", "results.json"), truth)
    write_results(tmp_path / "results.json", GOOD)
    write_submission(tmp_path / "b.zip", tmp_path / "results.json")
    whole = (tmp_path / "b.zip").read_bytes()
    (tmp_path / "b.zip").write_bytes(whole[:-30])
    with pytest.raises(InputError, match="b.zip: is no zip archive, or was cut off"):
        read_results(tmp_path / "b.zip", truth)
    (tmp_path / "b.zip").write_bytes(whole[:60] + bytes([whole[60] ^ 255]) + whole[61:])
    with pytest.raises(InputError, match="b.zip: "):
        read_results(tmp_path / "b.zip", truth)
    with pytest.raises(FileNotFoundError, match="absent.zip"):
        read_results(tmp_path / "absent.zip", truth)


def test_a_failing_write_leaves_the_old_file(tmp_path):
    write_results(tmp_path / "results.json", GOOD)
    with pytest.raises(ValueError):
        write_results(tmp_path / "results.json", [{**GOOD[0], "score": float("nan")}])
    assert json.loads((tmp_path / "results.json").read_text()) == GOOD
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]
