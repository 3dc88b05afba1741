import numpy as np
import pytest
import ytvis_files
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from stpn.data.datasets.mask_rle import compact, decode, fault, mask_box
from stpn.errors import InputError

masks = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda size: arrays.arrays(bool, size))


@settings(deadline=None, max_examples=40)
@given(masks)
def test_all_forms_of_run_lengths_decode_to_the_mask_they_were_made_of(mask):
    listed, text = ytvis_files.as_list(mask), ytvis_files.as_text(mask)
    forms = [listed, text, {**text, "counts": text["counts"].encode()}, compact(listed)]
    assert isinstance(forms[3]["counts"], bytes) and forms[3]["counts"].decode() == text["counts"]
    for form in forms:
        assert fault(form) is None and np.array_equal(decode(form, mask.shape), mask)
        ys, xs = np.nonzero(mask)
        box = [xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1] if len(xs) else [0] * 4
        assert mask_box(form, mask.shape) == box


@settings(deadline=None, max_examples=40)
@given(masks, st.data())
def test_damaged_text_is_refused_or_is_another_mask_of_the_same_size(mask, data):
    """Nothing that fault() lets pass may make pycocotools read or write where it must not."""
    text = ytvis_files.as_text(mask)
    characters = list(text["counts"])
    characters[data.draw(st.integers(0, len(characters) - 1))] = data.draw(st.sampled_from([chr(c) for c in (
        *range(44, 116), 200)]))
    damaged = {**text, "counts": "".join(characters[:data.draw(st.integers(0, len(characters)))])}
    if fault(damaged) is None:
        assert decode(damaged, mask.shape).shape == mask.shape
    else:
        with pytest.raises(InputError):
            decode(damaged, mask.shape)


def test_runs_of_millions_of_pixels_are_sound():
    mask = np.zeros((3000, 4000), np.uint8, order="F")
    mask[5:9, 6:9] = 1
    assert fault(coco_mask.encode(mask)) is None


@pytest.mark.parametrize("wrong, says", [
    ({"size": [4, 4], "counts": [3, 2]}, (".counts", "has runs over 5 pixels; its size has 16")),
    ({"size": [4, 4], "counts": [-3, 19]}, (".counts", "is not run lengths of RLE")),
    ({"size": [4, 4], "counts": [3.0, 13.0]}, (".counts", "is not run lengths of RLE")),
    ({"size": [4, 4], "counts": [[16], [1, 2]]}, (".counts", "is not run lengths of RLE")),
    ({"size": [4, 4], "counts": []}, (".counts", "")),
    ({"size": [4, 4], "counts": ""}, (".counts", "is not run lengths of RLE")),
    ({"size": [4, 4], "counts": "o"}, (".counts", "is not run lengths of RLE")),  # breaks off
    ({"size": [4, 4], "counts": "\u00e9"}, (".counts", "is not run lengths of RLE")),
    ({"size": [4, 4], "counts": "ooooooo0"}, (".counts", "is not run lengths of RLE")),
    ({"size": [4, 4], "counts": 16}, (".counts", "is neither a list")),
    ({"size": [4], "counts": [4]}, (".size", "is not [height, width]")),
    ({"size": [4, 0], "counts": [0]}, (".size", "is not [height, width]")),
    ({"counts": [4]}, ("", "is neither RLE")),
    ([[1, 2, 3]], ("[0]", "is not a polygon")),
    ([[0, 0, 1, 0, 1, 1], [0, 0, float("nan"), 0, 1, 1]], ("[1]", "is not a polygon")),
    ([[0, 0, 1e300, 0, 1, 1]], ("[0]", "is not a polygon")),
    ([0, 0, 1, 0, 1, 1], ("[0]", "is not a polygon"))])
def test_what_is_no_mask_is_said_with_its_place(wrong, says):
    place, text = fault(wrong)
    assert place == says[0] and text.startswith(says[1])
    if isinstance(wrong, dict):
        assert compact(wrong) is wrong


def test_mask_of_another_size_is_refused_with_both():
    with pytest.raises(InputError, match=r"size \[24, 32\]; expected \[32, 24\]"):
        decode(ytvis_files.as_list(ytvis_files.shape(11, 0)), (32, 24))


def test_polygons_of_one_object_are_joined_and_those_without_area_left_out():
    polygons = [[2, 3, 6, 3, 6, 5, 2, 5], [10, 1, 12, 1, 12, 4, 10, 4], [0, 0, 9, 9]]
    expected = np.zeros((8, 14), bool)
    expected[3:5, 2:6] = expected[1:4, 10:12] = True
    assert np.array_equal(decode(polygons, (8, 14)), expected)
    assert not decode([[0, 0, 9, 9]], (8, 14)).any()
