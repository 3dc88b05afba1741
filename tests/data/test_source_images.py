"""Folders and patterns of pictures."""

import os

import numpy as np
import pytest
from PIL import Image

from stpn.data.source import open_source
from stpn.errors import InputError


def save(path, value=0, size=(8, 12)):
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def values(source):
    return [int(frame.image[0, 0, 0]) for frame in source]


@pytest.fixture
def folder(tmp_path):
    """1.png, 2.png, 10.png, 11.png: grey values are their numbers."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in (10, 2, 1, 11):
        save(folder / f"{number}.png", number)
    return folder


def truncate(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def test_folder_is_read_in_natural_order(folder):
    source = open_source(str(folder), fps=10)
    assert source.kind == "folder" and source.name == "frames" and source.length == 4
    assert values(source) == [1, 2, 10, 11]
    assert [frame.time for frame in source] == [0.0, 0.1, 0.2, 0.3]
    assert [frame.name for frame in source][2] == "10.png"


def test_names_with_unusual_digits_sort_without_error(folder):
    save(folder / "²x.png", 99)
    assert values(open_source(folder))[:4] == [1, 2, 10, 11]


def test_pattern_takes_the_matching_pictures_in_natural_order(folder):
    source = open_source(str(folder / "1*.png"))
    assert source.kind == "glob" and values(source) == [1, 10, 11]


def test_existing_file_wins_over_a_pattern_of_the_same_spelling(tmp_path):
    save(tmp_path / "[a].png", 5)
    assert values(open_source(str(tmp_path / "[a].png"))) == [5]


def test_stray_files_are_ignored_and_counted(folder):
    for name in ("notes.txt", ".hidden.png", "Thumbs.db"):
        (folder / name).write_bytes(b"x")
    (folder / "folder.jpg").mkdir()
    source = open_source(folder)
    assert values(source) == [1, 2, 10, 11]
    assert len(source.warnings) == 1 and "4 entries" in source.warnings[0]


@pytest.mark.parametrize("name", ["", "*.png"])
def test_empty_folder_or_pattern_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="has no pictures"):
        open_source(os.path.join(tmp_path, name))


def test_pictures_of_different_sizes_keep_their_own_size(folder):
    save(folder / "3.png", 3, size=(5, 7))
    assert [frame.image.shape[:2] for frame in open_source(folder)] == [
        (8, 12),
        (8, 12),
        (5, 7),
        (8, 12),
        (8, 12),
    ]


def test_truncated_picture_stops_with_its_frame_and_file(folder):
    truncate(folder / "2.png")
    frames = iter(open_source(folder))
    assert next(frames).index == 0
    with pytest.raises(InputError, match=r"frame 1 .*2\.png"):
        next(frames)


def test_truncated_picture_is_skipped_in_its_place(folder):
    truncate(folder / "2.png")
    source = open_source(folder, on_error="skip")
    frames = list(source)
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert frames[1].image is None and "2.png" in frames[1].error
    assert source.partial and len(source.warnings) == 1 and "1 of 4" in source.warnings[0]


def test_link_without_a_target_is_an_unreadable_frame_not_a_stray_file(folder):
    (folder / "3.png").symlink_to(folder / "3.png")
    errors = [frame.error is not None for frame in open_source(folder, on_error="skip")]
    assert errors == [False, False, True, False, False]


def test_link_in_a_circle_as_input_is_refused(tmp_path):
    (tmp_path / "x.mp4").symlink_to(tmp_path / "x.mp4")
    with pytest.raises(InputError, match="x.mp4.*link"):
        open_source(str(tmp_path / "x.mp4"))


def test_selected_pictures_are_readable_neighbours_where_one_is_damaged(folder):
    truncate(folder / "2.png")
    selected = list(open_source(folder).select([0, 1, 3]))
    assert [f.index for f in selected] == [0, 1, 3] and values(selected) == [1, 1, 11]


def test_single_picture_is_a_video_of_one_frame(folder):
    source = open_source(str(folder / "10.png"))
    assert source.kind == "file" and source.name == "10" and source.length == 1 and values(source) == [10]


def test_file_names_with_odd_characters_work(tmp_path):
    folder = tmp_path / "a 'b' \"c\"\nd é"
    folder.mkdir()
    save(folder / "-1 x.png", 1)
    assert values(open_source(folder)) == [1]
