"""Result folders and submissions: what is written is read again, and what is wrong is told with file and line."""

import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from track_sets import load, write_set

from stpn.errors import InputError
from stpn.evaluation.tracking_files import write_submission, write_tracks, written
from stpn.evaluation.tracking_metrics import Tracks
from stpn.evaluation.tracking_results import opened, read_tracks

LENGTHS = [4, 3, 5]
NAMES = ["S1", "S2", "S3"]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    write_set(folder, LENGTHS, pictures=False)
    return load(folder)[0]


@pytest.fixture
def results(tmp_path):
    """The folder of a tracker: two repetitions of each sequence."""
    rng = np.random.default_rng(0)
    for name, length in zip(NAMES, LENGTHS):
        write_tracks(tmp_path / "TrkA", name, Tracks(rng.uniform(-5, 60, (2, length, 4)), rng.random((2, length))))
    return tmp_path / "TrkA"


def read(path, records):
    with opened(path) as root:
        return read_tracks(root, records, where=path)


def packed(folder, path, *, top=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{top}{file.relative_to(folder)}")
    return path


def faults(path, records, caplog):
    """-> the lines that a user reads: those logged, or the one raised."""
    caplog.clear()
    with pytest.raises(InputError) as error:
        read(path, records)
    assert "\n" not in str(error.value)
    logged = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert not logged or logged[0] in str(error.value)
    return [line.removeprefix(f"{path}: ") for line in logged or [str(error.value)]]


numbers = st.floats(-1e5, 1e5, width=32)


@settings(max_examples=25, deadline=None)
@given(arrays(float, (2, 4, 4), elements=numbers), arrays(float, (2, 4), elements=st.floats(0, 100) | st.just(np.nan)))
def test_what_is_written_is_read_again(tmp_path_factory, records, boxes, times):
    folder = tmp_path_factory.mktemp("round")
    write_tracks(folder, "S1", Tracks(boxes, times))
    found = read(folder, records[:1])["S1"]
    np.testing.assert_allclose(found.boxes, boxes, atol=0.00051)
    np.testing.assert_allclose(found.times, times, atol=0.51e-8)
    for again, rounded in zip(found, written(Tracks(boxes, times))):
        np.testing.assert_array_equal(again, rounded)


def test_files_are_as_the_toolkit_writes_them(tmp_path):
    boxes = np.array([[1, 2, 3.14159, 4], [0, -0.5, 1e3, 4]])
    write_tracks(tmp_path, "S", Tracks(np.stack([boxes, boxes + 1]), np.array([[0.1, 1.5], [2, 3e-9]])))
    assert (tmp_path / "S/S_001.txt").read_text() == "1.000,2.000,3.142,4.000\n0.000,-0.500,1000.000,4.000\n"
    assert (tmp_path / "S/S_time.txt").read_text() == "0.10000000,2.00000000\n1.50000000,0.00000000\n"
    write_tracks(tmp_path, "S", Tracks(boxes[None], np.ones((1, 2))))  # a second repetition would be a stale one
    assert sorted(file.name for file in (tmp_path / "S").iterdir()) == ["S_001.txt", "S_time.txt"]


def test_an_archive_is_read_as_the_folder_is(results, records, tmp_path):
    found, expected = read(packed(results, tmp_path / "a.zip"), records), read(results, records)
    assert list(found) == list(expected) == NAMES
    for name in NAMES:
        assert found[name].boxes.shape == (2, LENGTHS[NAMES.index(name)], 4)
        for a, b in zip(found[name], expected[name]):
            np.testing.assert_array_equal(a, b)


def lines_of(path):
    return path.read_text().splitlines(keepends=True)


def edit(file, change):
    def apply(folder):
        lines = lines_of(folder / file)
        (folder / file).write_text("".join(change(lines)))

    return apply


def replace_line(number, text):
    return lambda lines: [*lines[: number - 1], text, *lines[number:]]


WRONG = {
    "short file": (edit("S1/S1_001.txt", lambda lines: lines[:3]),
                   "S1/S1_001.txt:3: the file ends here, after 3 lines; expected 4"),
    "empty file": (edit("S1/S1_001.txt", lambda lines: []), "S1/S1_001.txt:1: the file ends here, after 0 lines"),
    "long file": (edit("S3/S3_002.txt", lambda lines: lines + lines[:1]),
                  "S3/S3_002.txt:6: is beyond the last frame; expected 5 lines of 6"),
    "NaN": (edit("S2/S2_001.txt", replace_line(2, "nan,1,1,1\n")), "S2/S2_001.txt:2: has a number that is not finite"),
    "infinity": (edit("S2/S2_001.txt", replace_line(3, "1,1,1,-inf\n")), "S2/S2_001.txt:3: has a number that is not"),
    "text": (edit("S2/S2_001.txt", replace_line(1, "1,2,3,four\n")), "S2/S2_001.txt:1: holds 'four'"),
    "tabs": (edit("S2/S2_001.txt", replace_line(2, "1\t2\t3\t4\n")),
             "S2/S2_001.txt:2: has 1 columns; expected 4, separated by commas"),
    "empty line": (edit("S2/S2_001.txt", replace_line(2, "\n")), "S2/S2_001.txt:2: is empty"),
    "corners of eight": (edit("S2/S2_001.txt", replace_line(2, "1,2,3,4,5,6,7,8\n")), "S2/S2_001.txt:2: has 8 columns"),
    "missing sequence": (lambda f: [file.unlink() for file in (f / "S2").iterdir()] and (f / "S2").rmdir(),
                         "S2: is missing; expected a folder with S2_001.txt and S2_time.txt"),
    "unknown sequence": (lambda f: (f / "S9").mkdir() or (f / "S9/S9_001.txt").write_text("1,2,3,4\n"),
                         "S9: is no sequence of this data set; take it out"),
    "file beside the folders": (lambda f: (f / "README").write_text(""), "README: is no sequence of this data set"),
    "file among the results": (lambda f: (f / "S1/S1_001_old.txt").write_text("1,2,3,4\n"),
                               "S1/S1_001_old.txt: does not belong here; take it out"),
    "missing times": (lambda f: (f / "S3/S3_time.txt").unlink(), "S3/S3_time.txt: is missing; expected 5 lines"),
    "times of one repetition": (edit("S3/S3_time.txt", lambda lines: [line.split(",")[0] + "\n" for line in lines]),
                                "S3/S3_time.txt:1: has 1 columns; expected 2, separated by commas (and in 4 more "
                                "lines, the last is 5)"),
    "times of fewer frames": (edit("S3/S3_time.txt", lambda lines: lines[1:]),
                              "S3/S3_time.txt:4: the file ends here, after 4 lines; expected 5"),
    "time below 0": (edit("S3/S3_time.txt", replace_line(2, "0.1,-0.1\n")), "S3/S3_time.txt:2: has a time below 0"),
    "missing repetition": (lambda f: (f / "S1/S1_001.txt").unlink(), "S1/S1_001.txt: is missing; expected 4 lines"),
    "bytes": (lambda f: (f / "S1/S1_001.txt").write_bytes(b"1,2\xff"), "S1/S1_001.txt: is not text in UTF-8 (byte 3)"),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("archive", [False, True], ids=["folder", "archive"])
def test_each_fault_is_told_with_its_place(results, records, tmp_path, caplog, kind, archive):
    damage, told = WRONG[kind]
    damage(results)
    path = packed(results, tmp_path / "a.zip") if archive else results
    assert any(line.startswith(told) for line in faults(path, records, caplog))


def test_stale_times_of_another_sequence_are_told(results, tmp_path, caplog):
    write_set(tmp_path / "set", [4, 4, 5], pictures=False)
    records = load(tmp_path / "set")[0]
    (results / "S2/S2_time.txt").write_text((results / "S1/S1_time.txt").read_text())
    for run in ("001", "002"):
        (results / f"S2/S2_{run}.txt").write_text("1,2,3,4\n" * 4)
    assert faults(results, records, caplog) == ["S2/S2_time.txt:1: has the times of S1; measure them again"]
    for name in ("S1", "S2"):  # a constant may well be the same
        (results / f"{name}/{name}_time.txt").write_text("0.1,0.1\n" * 4)
    assert len(read(results, records)) == 3


def test_repetitions_of_an_interrupted_run_are_told(results, records, caplog):
    (results / "S3/S3_002.txt").unlink()
    edit("S3/S3_time.txt", lambda lines: [line.split(",")[0] + "\n" for line in lines])(results)
    assert faults(results, records, caplog) == ["S3: has 1 repetitions, others 2; expected as many for each sequence"]


def test_all_faults_are_listed_at_once(results, records, caplog):
    for kind in ("short file", "NaN", "missing times", "unknown sequence"):
        WRONG[kind][0](results)
    lines = faults(results, records, caplog)
    assert [line.split(":")[0] for line in lines] == ["S9", "S1/S1_001.txt", "S2/S2_001.txt", "S3/S3_time.txt"]


def test_the_folder_above_or_an_archive_with_a_folder_on_top_is_told(results, records, tmp_path, caplog):
    (line,) = faults(tmp_path, records, caplog)
    assert "holds no folder of a sequence, such as S1, but these folders in it do: TrkA" in line
    (line,) = faults(packed(results, tmp_path / "a.zip", top="TrkA/"), records, caplog)
    assert "these folders in it do: TrkA; expected one of them (in an archive, its content at the top)" in line


def test_results_of_another_data_set_are_told(records, tmp_path, caplog):
    (tmp_path / "X").mkdir()
    assert "holds no folder of a sequence, such as S1; is it of this data set?" in faults(tmp_path, records, caplog)[0]


def test_what_is_no_result_at_all_is_told(records, tmp_path):
    with pytest.raises(FileNotFoundError, match="results not found: .*none"):
        read(tmp_path / "none", records)
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04cut")
    with pytest.raises(InputError, match="neither a folder nor a whole zip"):
        read(tmp_path / "a.zip", records)


def test_a_damaged_archive_is_told(results, records, tmp_path):
    path = packed(results, tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF  # in the content of the first member
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="the archive is damaged"):
        read(path, records)


def test_a_file_twice_in_an_archive_is_told(results, records, tmp_path, caplog):
    path = packed(results, tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning):
        archive.writestr("S1/S1_001.txt", "1,2,3,4\n" * 4)
    assert faults(path, records, caplog)[0].startswith("S1/S1_001.txt: is there twice")


def test_a_submission_has_the_sequences_at_its_top_and_nothing_else(results, records, tmp_path):
    assert write_submission(tmp_path / "a.zip", results, records) == 9
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == [f"{n}/{n}_{part}.txt" for n in NAMES for part in ("001", "002", "time")]
        assert archive.read("S2/S2_001.txt") == (results / "S2/S2_001.txt").read_bytes()
    assert list(read(tmp_path / "a.zip", records)) == NAMES
    write_submission(tmp_path / "b.zip", tmp_path / "a.zip", records)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_no_submission_is_written_of_results_that_are_wrong(results, records, tmp_path):
    WRONG["NaN"][0](results)
    with pytest.raises(InputError, match="S2_001.txt:2"):
        write_submission(tmp_path / "a.zip", results, records)
    with pytest.raises(InputError, match="among the results themselves"):
        write_submission(results / "a.zip", results, records)
    assert not list(tmp_path.rglob("*.zip"))
