"""A JSON list read in pieces, against the json module."""

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stpn.errors import InputError
from stpn.evaluation.json_stream import stream_list

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(items=st.lists(VALUES, max_size=8), indent=st.sampled_from([None, 0, 2]), ascii_only=st.booleans(),
       bom=st.booleans())  # fmt: skip
def test_equals_the_json_module_whatever_is_in_the_list(tmp_path_factory, items, indent, ascii_only, bom):
    path = tmp_path_factory.mktemp("list") / "list.json"
    text = json.dumps(items, indent=indent, ensure_ascii=ascii_only)
    path.write_text("\ufeff" * bom + text + "\n", encoding="utf-8", errors="surrogatepass")
    longest = max((len(json.dumps(item, indent=indent, ensure_ascii=ascii_only)) for item in items), default=0)
    # Blocks so small that every item is cut somewhere; white space between two items adds to their length.
    assert list(stream_list(path, block=2 * longest + 12)) == items


@pytest.mark.parametrize("text, words", [
    ("", "is empty; expected a JSON list of records: write it again"),
    ('{"images": []}', """begins with '{"images": []}'; expected a JSON list of records"""),
    ("hello", "begins with 'hello'"),
    ("[1, 2", "ends inside the list, after 2 whole records; it was cut off"),
    ("[1, 2,", "ends inside the list, after 2 whole records"),
    ('[1, {"a": 3}, {"a": x}]', """record 2 is not JSON at '{"a": x}]'"""),
    ('[1, {"a": x}, 5', """record 1 is not JSON at '{"a": x}, 5'"""),
    ("[1 2]", "record 1 is not JSON at '2]'"),
    ("[1, 2]]", "record 2 is not JSON at ']'"),
    ("[1, x]", "record 1 is not JSON at 'x]'"),
    ("[1,]", "record 1 is not JSON at ']'"),
    ("[" * 100_000, "record 0 is not JSON"),
    ("[" + "9" * 5000 + "]", "record 0 is not JSON at '999"),
])  # fmt: skip
def test_damage_is_named_with_the_record(text, words, tmp_path):
    path = tmp_path / "list.json"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        list(stream_list(path))
    assert words in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_cut_file_is_called_cut_wherever_the_cut_is(tmp_path):
    """It was called "not JSON" where the cut was inside a record."""
    path = tmp_path / "list.json"
    text = json.dumps([{"video_id": 'a "]}" [é\\', "bbox": [1.5, 2, 3, 4], "ok": True}] * 3)
    for end in range(1, len(text)):
        path.write_text(text[:end])
        for block in (100, 1 << 22):
            with pytest.raises(InputError, match=r" ends inside (the list|record [012]\b).* cut off: write it again"):
                list(stream_list(path, block=block))


def test_a_folder_is_called_a_folder_and_what_is_in_it_is_named(tmp_path):
    """It was "no such file"."""
    with pytest.raises(InputError, match=f"{tmp_path} is a folder; expected a JSON file: there is none in it"):
        list(stream_list(tmp_path))
    (tmp_path / "vid_detections.json").write_text("[]")
    with pytest.raises(InputError, match=f"name one in it, such as {tmp_path}/vid_detections.json"):
        list(stream_list(tmp_path))


def test_what_is_no_text_and_what_is_not_there_is_named(tmp_path):
    (tmp_path / "list.json").write_bytes(b"\xff\xfe[1]")
    with pytest.raises(InputError, match="list.json is not text"):
        list(stream_list(tmp_path / "list.json"))
    with pytest.raises(FileNotFoundError, match="other.json"):
        list(stream_list(tmp_path / "other.json"))


def test_memory_does_not_grow_with_the_file(tmp_path):
    path, peaks = tmp_path / "list.json", []
    for count in (2_000, 20_000):
        path.write_text(json.dumps([{"bbox": [1.5, 2.5, 3.5, 4.5]}] * count))
        tracemalloc.start()
        assert sum(1 for _ in stream_list(path, block=10_000)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
