"""Motion IoU from tracks, and the table that may replace it."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from scipy.io import savemat

from stpn.errors import InputError
from stpn.evaluation.motion import motion_from_table, motion_iou, read_motion_table


def plain(track, frame, box, radius):
    """The definition, box by box and neighbour by neighbour."""
    result = []
    for t, f, b in zip(track, frame, box, strict=True):
        values = []
        for u, s, c in zip(track, frame, box, strict=True):
            if u == t and 0 < abs(s - f) <= radius:
                w = max(0, min(b[2], c[2]) - max(b[0], c[0]) + 1)
                h = max(0, min(b[3], c[3]) - max(b[1], c[1]) + 1)
                area = sum((x[2] - x[0] + 1) * (x[3] - x[1] + 1) for x in (b, c))
                values.append(w * h / (area - w * h))
        result.append(np.mean(values) if values else 1.0)
    return result


@pytest.mark.parametrize("radius", [1, 3, 10])
def test_equals_the_definition_on_tracks_with_gaps(radius):
    rng = np.random.default_rng(radius)
    cells = rng.permutation([(t, f) for t in range(5) for f in range(30) if rng.random() < 0.6])
    xy = rng.integers(0, 20, (len(cells), 2))
    box = np.concatenate([xy, xy + rng.integers(5, 40, xy.shape)], axis=1)
    track, frame = cells.T
    np.testing.assert_allclose(
        motion_iou(track=track, frame=frame, box=box, radius=radius),
        plain(track, frame, box, radius),
        atol=1e-12,
    )


def moving(frames, boxes, track=None):
    track = np.zeros(len(frames), dtype=int) if track is None else np.array(track)
    return motion_iou(track=track, frame=np.array(frames), box=np.array(boxes))


def test_half_a_width_in_one_frame_by_hand():
    """Columns 0..9 then 5..14: inclusive IoU 5/15; the frame itself is not counted."""
    np.testing.assert_allclose(moving([0, 1], [[0, 0, 9, 9], [5, 0, 14, 9]]), [1 / 3, 1 / 3])


def test_the_tenth_frame_is_a_neighbour_and_the_eleventh_is_not():
    far = [[0, 0, 9, 9], [50, 0, 59, 9]]
    np.testing.assert_array_equal(moving([0, 10], far), [0, 0])
    np.testing.assert_array_equal(moving([0, 11], far), [1, 1])


def test_missing_neighbours_are_skipped_not_zero():
    np.testing.assert_array_equal(moving([0, 4], [[0, 0, 9, 9]] * 2), [1, 1])


def test_a_still_image_and_a_foreign_track_show_no_motion():
    np.testing.assert_array_equal(moving([0], [[0, 0, 9, 9]]), [1])
    np.testing.assert_array_equal(moving([0, 1], [[0, 0, 9, 9], [50, 0, 59, 9]], track=[0, 1]), [1, 1])
    assert moving([], np.zeros((0, 4))).shape == (0,)


def test_a_track_twice_in_a_frame_is_no_neighbour_of_itself():
    np.testing.assert_array_equal(moving([3, 3], [[0, 0, 9, 9], [50, 0, 59, 9]]), [1, 1])


def vid_mini(root):
    """-> image ids, box counts, and the tracks of the val split, straight from its XML files."""
    ids, counts, track, frame, box = [], [], [], [], []
    for line in (root / "ImageSets/VID/VID_val_frames.txt").read_text().splitlines():
        path, number = line.split()
        objects = ET.parse(root / "Annotations/VID" / f"{path}.xml").findall("object")
        ids.append(int(number))
        counts.append(len(objects))
        video, index = path.rsplit("/", 1)
        for one in objects:
            track.append(f"{video} {one.findtext('trackid')}")
            frame.append(int(index))
            box.append([int(one.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")])
    return ids, counts, np.unique(track, return_inverse=True)[1], np.array(frame), np.array(box)


def test_table_of_the_real_snippets_is_reproduced(sample_data_dir):
    """That table was computed with the frame itself counted; ours leaves it out, as the published table does,
    and the difference is exactly that one IoU of 1."""
    root = sample_data_dir / "vid_mini"
    ids, counts, track, frame, box = vid_mini(root)
    table = motion_from_table(root / "ImageSets/VID/VID_val_motion_iou.mat", image_ids=ids, counts=counts)
    with_self = motion_iou(track=track, frame=frame, box=box, include_self=True)
    np.testing.assert_allclose(with_self, table, atol=1e-12)
    near = [np.sum((track == t) & (abs(frame - f) <= 10)) - 1 for t, f in zip(track, frame, strict=True)]
    without = motion_iou(track=track, frame=frame, box=box)
    np.testing.assert_allclose((1 + np.array(near) * without) / (1 + np.array(near)), table, atol=1e-12)


@pytest.fixture
def table_file(tmp_path):
    """Cells of all the published shapes: (2, 1), empty (1, 0), (1, 3), and a placeholder (1, 1)."""
    cells = np.empty((4, 1), dtype=object)
    for i, cell in enumerate([[[0.1], [0.2]], np.zeros((1, 0)), [[0.3, 0.4, 0.5]], [[0.0]]]):
        cells[i, 0] = np.array(cell, dtype=float)
    savemat(tmp_path / "motion.mat", {"motion_iou": cells})
    return tmp_path / "motion.mat"


def test_table_rows_are_found_by_image_id(table_file):
    values, offsets = read_motion_table(table_file)
    np.testing.assert_array_equal(values, [0.1, 0.2, 0.3, 0.4, 0.5, 0.0])
    np.testing.assert_array_equal(offsets, [0, 2, 2, 5, 6])
    found = motion_from_table(table_file, image_ids=[1, 3, 4], counts=[2, 3, 0])
    np.testing.assert_array_equal(found, [0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("ids, counts, words", [
    ([1], [3], "2 values for image id 1, expected 3"),
    ([2], [1], "0 values for image id 2, expected 1"),
    ([5], [0], "no row .of 4. for image id 5"),
    ([0], [1], "no row .of 4. for image id 0"),
])  # fmt: skip
def test_table_of_another_set_is_refused(ids, counts, words, table_file):
    with pytest.raises(InputError, match=words):
        motion_from_table(table_file, image_ids=ids, counts=counts)


@pytest.mark.parametrize("content", [b"", b"not a table", b"\x00" * 200])
def test_damaged_table_gives_one_line_with_its_path(content, tmp_path):
    path = tmp_path / "motion.mat"
    path.write_bytes(content)
    with pytest.raises(InputError, match="motion.mat: expected a MATLAB 5 file") as error:
        read_motion_table(path)
    assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="other.mat"):
        read_motion_table(tmp_path / "other.mat")
