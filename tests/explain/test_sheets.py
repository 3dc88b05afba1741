"""Sheets: heat lies where its values are, a frame without a target keeps its place, shares add up."""

from types import SimpleNamespace

import numpy as np
import torch

from stpn.explain import Target
from stpn.explain.pictures import heat, titled
from stpn.explain.sheets import Column, ReadingFilm, cam_sheet, last_blocks, support_sheet
from stpn.explain.walk import Supports, picture_part

GREY = np.full((48, 80, 3), 128, np.uint8)


def test_heat_of_the_padding_below_and_right_is_not_seen():
    part = picture_part(GREY.shape[:2], 32)
    assert part == (48 / 64, 80 / 96)
    values = torch.zeros(8, 12)  # of 64x96
    cold = heat(GREY, values, part)
    values[7:], values[:, 11:] = 1, 1
    np.testing.assert_array_equal(heat(GREY, values, part), cold)
    values[0, 0] = 1
    warm = heat(GREY, values, part)
    assert (warm[:4, :4] != cold[:4, :4]).any() and (warm[12:, 12:] == cold[12:, 12:]).all()


def test_a_frame_without_a_target_keeps_its_column():
    cams = [(f"heat {i}", torch.rand(48, 80)) for i in range(3)]
    target = Target([10, 10, 40, 30], 0)
    full = Column("one", GREY, target, cams)
    empty = Column("none found", GREY, None, [])
    sheet, alone = cam_sheet([full, empty, full]), cam_sheet([full])
    width, body = alone.shape[1], slice(80 - alone.shape[0], None)  # below what is said about colours
    assert sheet.shape[1] == 3 * width
    np.testing.assert_array_equal(sheet[body, :width], alone[body])
    np.testing.assert_array_equal(sheet[body, 2 * width:], alone[body])
    assert (sheet[-100:, width:2 * width] == 255).all()


def test_repeated_support_frames_are_shown_once_with_the_share_of_all_copies():
    torch.manual_seed(0)
    reads = torch.rand(2, 4, 3, 5)
    reads = reads / reads.sum((1, 2, 3), keepdim=True)
    supports = Supports([0, 0, 8, 16], [GREY] * 4, None, (1.0, 1.0))
    sheet, shares = support_sheet(reads, supports)
    assert list(shares) == [0, 8, 16] and shares[0] == (reads[:, :2].sum((1, 2, 3))).tolist()
    np.testing.assert_allclose(np.sum(list(shares.values()), 0), 1, atol=1e-6)
    assert sheet.shape[1] == 3 * 304


def test_a_film_has_one_size_and_one_scale_for_all_frames():
    names = [("res2", 0), ("res2", 1), ("res3", 0)]
    film, frame = ReadingFilm(names), SimpleNamespace(t=0, picture=GREY, part=(1.0, 1.0))
    assert last_blocks(names) == [1, 2]
    first = film.picture([torch.full((2, 6, 10), share) for share in (0.3, 0.2, 0.1)], frame)
    half = film.picture([torch.full((2, 6, 10), share) for share in (0.3, 0.1, 0.05)], frame)
    assert first.shape == half.shape == (first.shape[0], 3 * 304, 3)
    assert (first[30:, 310:600] != half[30:, 310:600]).any()


def test_long_titles_take_more_lines_instead_of_being_cut():
    assert titled(GREY, "word " * 10).shape[0] - titled(GREY, "word").shape[0] >= 18
