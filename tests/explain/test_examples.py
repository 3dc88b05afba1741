"""Which frames a report shows follows from the list of differences by a rule, failures included."""

import cv2
import numpy as np

from stpn.explain.examples import first_examples, found_alone, frames_of_groups, sheet, video_frame


def line(t, model=(), against=()):
    return {"index": t, "labels_by_model_alone": list(model), "labels_by_against_alone": list(against)}


LINES = [line(3, model=["a"]), line(4, model=["a"], against=["b"]), line(5, against=["b"]), line(7),
         line(9, model=["a"]), {"index": 12, "model_alone": ["a"], "against_alone": []}, line(20, model=["a", "b"])]


def test_alone_is_a_frame_with_a_label_for_one_and_none_for_the_other_among_the_wanted():
    assert found_alone(LINES, "model", {3, 4, 5, 7, 12, 20}) == [3, 20]
    assert found_alone(LINES, "against", {3, 4, 5, 7, 20}) == [5]


def test_each_model_gets_the_first_videos_that_speak_for_it_and_no_more_are_asked_for():
    asked = []

    def videos():
        for name, lines in (("a", []), ("b", LINES[:1]), ("c", LINES[2:3] + LINES[4:]), ("d", LINES), ("e", LINES),
                            ("f", LINES)):
            asked.append(name)
            yield name, lines, set(range(32))

    found, told = first_examples(videos(), most=2)
    assert found == {"model": [("b", 3), ("c", 9)], "against": [("c", 5), ("d", 5)]}
    assert asked == told == ["a", "b", "c", "d"]
    assert first_examples([("a", LINES, {7})]) == ({"model": [], "against": []}, ["a"])


def test_groups_mean_the_same_frames_whatever_the_layout():
    by_id = [{"video_id": v, "frame_index": t, "image_id": 10 * i + t} for i, v in enumerate("ab") for t in range(5)]
    expected = {"a": {"clean": {0}, "dark": set()}, "b": {"clean": {1, 4}, "dark": {2}}}
    found = frames_of_groups(by_id, {"clean": [0, 11, 14], "dark": [12]})
    assert {v: {g: found[v].get(g, set()) for g in ("clean", "dark")} for v in found} == expected
    keyed = {"clean": {7: [0], 8: [1, 4]}, "dark": {8: [2]}}
    assert frames_of_groups([{"video_id": "a", "json_id": 7}, {"video_id": "b", "json_id": 8}], keyed) == expected
    named = {group: {"xy"[k - 7]: frames for k, frames in members.items()} for group, members in keyed.items()}
    assert frames_of_groups([{"video_id": "a", "name": "x"}, {"video_id": "b", "name": "y"}], named) == expected


def test_a_sheet_has_the_asked_frames_from_top_to_bottom(tmp_path):
    for t in range(6):
        cv2.imwrite(str(tmp_path / f"{t:03d}.png"), np.full((10, 20, 3), 40 * t, np.uint8))
    frames = [video_frame(str(tmp_path), t) for t in (1, 4, 5)]
    picture = sheet(frames, ["one", "four", "five"], width=40)
    seen = [value for value in picture[:, 20, 0].tolist() if value in (40, 160, 200)]
    assert seen == [40] * 20 + [160] * 20 + [200] * 20
