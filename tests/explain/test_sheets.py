"""Sheets: heat lies where its values are, a frame without a target keeps its place, shares add up."""

from types import SimpleNamespace

import numpy as np
import torch

from stpn.explain import Target
from stpn.explain.pictures import heat, heat_or_grey, span, titled, titled_row
from stpn.explain.sheets import Column, ReadingFilm, cam_sheet, last_blocks, prompt_sheet, support_sheet
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


def is_grey(picture):
    return (picture[..., :1] == picture).all()


def test_maps_without_a_place_of_their_own_have_no_colours():
    values = torch.full((6, 10), 0.5)
    values[2, 3] = 0.49
    assert is_grey(heat_or_grey(GREY, values, 0.5)) and is_grey(heat_or_grey(GREY, torch.zeros(6, 10), 1))
    values[2, 3] = 0.4
    assert not is_grey(heat_or_grey(GREY, values, 0.5))
    padded = torch.full((6, 10), 0.5)
    padded[5:] = 0  # below the picture
    assert is_grey(heat_or_grey(GREY, padded, 0.5, (5 / 6, 1.0)))
    assert span(padded, (5 / 6, 1.0)) == "50.00-50.00%" and span(padded / 98) == "0.00-0.51%"
    assert span(padded / 1e9) == "0.0000-0.0000%" and span(torch.ones(2, 2)) == "100.00-100.00%"


def test_a_grad_cam_of_nothing_says_so_and_is_grey(monkeypatch):
    said = []
    for name in ("pictures", "sheets"):
        monkeypatch.setattr(f"stpn.explain.{name}.titled", lambda image, text, **_: said.append(text) or image)
    column = Column("frame 1", GREY, Target([10, 10, 40, 30], 0), [("res4", torch.zeros(48, 80))])
    assert is_grey(cam_sheet([column])) and "res4, no positive evidence" in said
    said.clear()
    cam_sheet([column._replace(heats=[("res4", torch.rand(48, 80))])])
    assert "res4" in said


def test_even_reading_of_prompts_is_grey_and_titles_give_its_range(monkeypatch):
    said = []
    monkeypatch.setattr("stpn.explain.pictures.titled", lambda image, text, **_: said.append(text) or image)
    frame, maps = SimpleNamespace(t=7, picture=GREY, part=(1.0, 1.0)), torch.full((2, 6, 10), 0.005)
    maps[:, 0, 0] = 0.0049
    assert is_grey(prompt_sheet([maps], [("res2", 0)], frame))
    assert said == ["frame 7", "res2, prompt 0: 0.49-0.50%", "res2, prompt 1: 0.49-0.50%"]
    maps[1, 3, 3] = 0.01
    assert not is_grey(prompt_sheet([maps], [("res2", 0)], frame))


def test_support_frames_are_grey_where_the_whole_row_is_read_evenly():
    reads = torch.full((2, 2, 3, 5), 1 / 30)
    reads[1, 0] *= 1.5
    reads[1, 1] *= 0.5
    sheet, _ = support_sheet(reads, Supports([0, 8], [GREY] * 2, None, (1.0, 1.0)))
    height = 18 + 180 + 4  # a title, 80x48 pixels at a width of 300, a gap
    even, levels = sheet[18 + height:18 + 2 * height], sheet[18 + 2 * height:18 + 3 * height]
    assert is_grey(even) and not is_grey(levels[20:190, :300]) and not is_grey(levels[20:190, 310:600])


def test_pictures_of_a_row_stay_level_whatever_their_titles_take():
    short, long = titled_row([GREY, GREY], ["a", "word " * 10])
    assert short.shape == long.shape and (short[-48:] == GREY).all()


def test_titles_may_be_larger():
    assert titled(GREY, "a", size=2).shape[0] - 48 == 2 * (titled(GREY, "a").shape[0] - 48)


def test_long_titles_take_more_lines_instead_of_being_cut():
    assert titled(GREY, "word " * 10).shape[0] - titled(GREY, "word").shape[0] >= 18
