"""The list and the count of what one model finds and the other misses, by hand."""

import torch
from detectron2.structures import Boxes, Instances

from stpn.explain.tally import Tally, described, ranges, table

NAMES = ["cat", "dog"]
LEFT, RIGHT, BELOW = [0, 0, 10, 10], [30, 0, 40, 10], [0, 30, 10, 40]


def found(*things, score=0.75, **more):
    """things: (box, class)."""
    boxes = torch.tensor([box for box, _ in things], dtype=torch.float32).reshape(-1, 4)
    return Instances((50, 50), pred_boxes=Boxes(boxes), scores=torch.full((len(things),), score),
                     pred_classes=torch.tensor([label for _, label in things], dtype=torch.int64), **more)


def test_labels_found_by_one_alone_and_things_without_a_label_are_told_and_counted():
    tally = Tally(NAMES)
    told = tally.add(3, (found((LEFT, 0)), found((LEFT, 0), (RIGHT, 1))), found((RIGHT, 1), (BELOW, 0), score=1.0))
    dog = {"label": "dog", "score": 0.75, "box": [30, 0, 40, 10]}
    assert told == {"against_alone": [], "model_alone": [dog], "labels": 2, "labels_by_against_alone": [],
                    "labels_by_model_alone": [dog]}
    assert tally.add(4, (found((BELOW, 0)), found((BELOW, 0))), found((BELOW, 0))) == {}
    assert tally.summary() == {
        "frames": 2, "frames_that_differ": 1, "labels": 3,
        "against": {"found": 2, "alone": 0, "alone_by_class": {}, "labels_found": 1, "labels_alone": 0, "no_label": 1,
                    "frames": [], "label_frames": []},
        "model": {"found": 3, "alone": 1, "alone_by_class": {"dog": 1}, "labels_found": 2, "labels_alone": 1,
                  "no_label": 1, "frames": ["3"], "label_frames": ["3"]}}


def test_two_boxes_of_one_label_that_do_not_overlap_enough_differ_without_a_label_alone():
    """Both overlap the label by half and more, each other by less."""
    tally = Tally(NAMES)
    told = tally.add(0, (found(([0, 0, 7, 10], 0)), found(([4, 0, 10, 10], 0))), found((LEFT, 0)))
    assert len(told["against_alone"]) == len(told["model_alone"]) == 1
    assert told["labels_by_against_alone"] == told["labels_by_model_alone"] == []


def test_without_labels_the_frames_are_those_in_which_one_finds_something_alone():
    tally = Tally(NAMES)
    for t in (5, 6, 7, 9):
        tally.add(t, (found(), found((LEFT, 1))), None)
    tally.add(10, (found((LEFT, 1)), found((RIGHT, 1))), None)
    summary = tally.summary()
    assert summary["labels"] is None and not {"labels_found", "label_frames"} & summary["model"].keys()
    assert summary["against"]["frames"] == ["10"] and summary["model"]["frames"] == ["5-7", "9-10"]
    assert summary["model"]["alone_by_class"] == {"dog": 5}
    assert "frames in which model alone finds something: 5-7, 9-10" in table(summary, ["theirs", "ours"])


def test_frames_without_labels_are_no_frames_in_which_a_label_is_found():
    """A video labelled here and there: what is found alone in the other frames is something, not a label."""
    tally = Tally(NAMES)
    tally.add(0, (found(), found((LEFT, 0))), found((LEFT, 0)))
    tally.add(1, (found((LEFT, 0)), found((LEFT, 0))), found((LEFT, 0)))
    tally.add(2, (found((RIGHT, 0)), found((LEFT, 0))), None)  # no label, whatever is there
    tally.add(3, (found((RIGHT, 0)), found((LEFT, 0))), found((LEFT, 0)))  # a label and, of the other, a mistake
    tally.add(4, (found(), found((LEFT, 0))), found())  # labelled: nothing is there
    summary = tally.summary()
    assert summary["model"]["frames"] == ["0", "2-4"] and summary["model"]["label_frames"] == ["0", "3"]
    assert summary["against"]["frames"] == ["2-3"] and summary["against"]["label_frames"] == []
    assert (summary["model"]["labels_alone"], summary["model"]["no_label"], summary["against"]["no_label"]) == (2, 1, 1)
    said = table(summary, ["theirs", "ours"])
    assert "frames in which model alone finds a label: 0, 3\n" in said + "\n"
    assert "frames in which against alone finds a label: none" in said and "something" not in said


def test_tracks_have_numbers_and_unknown_scores_are_null():
    one = found((LEFT, 0), pred_ids=torch.tensor([4]))
    one.scores[0] = float("nan")
    assert described(one, [0], NAMES) == [{"label": "cat", "score": None, "box": [0, 0, 10, 10], "track_id": 4}]


def test_ranges_join_neighbours():
    assert ranges([]) == [] and ranges([0, 1, 2, 5, 7, 8]) == ["0-2", "5", "7-8"]
