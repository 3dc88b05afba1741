"""Masks on a frame: where they are, in whose colour, and what is left alone."""

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances
from PIL import ImageDraw

from stpn.engine.drawing import class_color, draw_detections, draw_note, track_color
from stpn.engine.visualizer import visualize_detections

NAMES = ["dog", "giant_panda", "Käse\nzwei"]


def tracks(masks, ids):
    masks = torch.as_tensor(masks)
    return Instances(tuple(masks.shape[1:]), pred_masks=masks, pred_boxes=BitMasks(masks).get_bounding_boxes(),
                     scores=torch.linspace(0.9, 0.5, len(masks)), pred_classes=torch.arange(len(masks)) % 3,
                     pred_ids=torch.tensor(ids))


def squares(*corners, size=(120, 160), side=40):
    masks = np.zeros((len(corners), *size), bool)
    for mask, (y, x) in zip(masks, corners, strict=True):
        mask[y:y + side, x:x + side] = True
    return masks


def noise(size=(120, 160)):
    return np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)


def rgb(color):
    return np.round(np.array(color) * 255)


def test_mask_is_half_its_tracks_colour_and_the_rest_of_the_frame_is_untouched():
    image = noise()
    before = image.copy()
    drawn = draw_detections(image, tracks(squares((60, 70)), [7]), NAMES)
    assert (image == before).all() and drawn.shape == image.shape and drawn.dtype == np.uint8
    assert np.abs(drawn[85:98, 75:105] - (image[85:98, 75:105] / 2 + rgb(track_color(7)) / 2)).max() <= 1
    assert (drawn[99, 70:110] == rgb(track_color(7))).all()  # the outline, at the mask's last row
    changed = (drawn != image).any(2)
    assert not changed[100:].any() and not changed[:, :68].any() and not changed[60:, 110:].any()
    assert not changed[:44].any()  # the label is above the mask


def test_holes_and_loose_parts_are_drawn_as_they_are():
    mask = squares((60, 30), side=50)
    mask[0, 85:95, 50:60] = False
    mask[0, 110:115, 140:150] = True
    image = noise()
    changed = (draw_detections(image, tracks(mask, [1]), NAMES) != image).any(2)
    assert changed[110:115, 140:150].mean() > 0.95 and not changed[86:94, 51:59].any()
    assert not changed[112:, 81:139].any()


def test_a_track_keeps_its_colour_whoever_else_is_there():
    image = noise()
    alone = draw_detections(image, tracks(squares((20, 10)), [5]), NAMES)
    among = draw_detections(image, tracks(squares((20, 10), (70, 90), (70, 20)), [5, 2, 9]), NAMES)
    assert (alone[20:40, 10:50] == among[20:40, 10:50]).all()


def test_small_masks_are_drawn_over_large_ones():
    large = squares((40, 10), side=70)
    small = squares((80, 40), side=20)
    for order in (1, -1):
        masks, ids = np.concatenate([large, small])[::order], [4, 6][::order]
        drawn = draw_detections(np.zeros((120, 160, 3), np.uint8), tracks(masks.copy(), ids), NAMES)
        assert (drawn[99, 45:55] == rgb(track_color(6))).all()


def test_colours_of_a_hundred_tracks_differ_and_those_of_neighbours_differ_much():
    colors = np.array([rgb(track_color(i)) for i in range(100)])
    apart = np.abs(colors[:, None] - colors[None]).sum(2) + 999 * np.eye(100)
    assert apart.min() > 10 and apart[:8, :8].min() > 60
    assert len({class_color(i) for i in range(40)}) > 30


def test_label_names_class_score_and_track():
    blank = np.full((120, 160, 3), 128, np.uint8)
    mask = squares((60, 30))
    one, two = (draw_detections(blank, tracks(mask, [number]), NAMES) for number in (1, 2))
    untold = tracks(mask, [1])
    untold.remove("pred_masks")
    untold.remove("pred_ids")
    boxed = draw_detections(blank, untold, NAMES)
    black = [np.nonzero((picture.max(2) < 60).any(0))[0] for picture in (one, boxed)]
    assert len(black[0]) > len(black[1]) > 20  # "dog 90% #1" is longer than "dog 90%"
    assert (one[:60] != two[:60]).any() and (one[60:, :30] == blank[60:, :30]).all()


@pytest.mark.parametrize("corners", [
    ((50, 20), (50, 20), (50, 20)), ((50, 20), (52, 30), (54, 24)), ((0, 20),) * 4, ((100, 20), (100, 24)),
])  # fmt: skip
@pytest.mark.parametrize("tracked", [True, False])
def test_labels_do_not_cover_each_other(corners, tracked, monkeypatch):
    areas, size = [], (120, 160)
    rectangle = ImageDraw.ImageDraw.rectangle
    monkeypatch.setattr(ImageDraw.ImageDraw, "rectangle", lambda self, area, fill=None, **more: (
        areas.append(area) if fill else None, rectangle(self, area, fill=fill, **more)))
    found = tracks(squares(*corners), range(len(corners)))
    if not tracked:  # boxes instead of masks
        found.remove("pred_masks")
    draw_detections(noise(size), found, NAMES[:2] + ["cat"])
    painted = sum(np.pad(np.ones((int(y1) - int(y0) + 1, int(x1) - int(x0) + 1), int),
                         ((int(y0), size[0] - int(y1) - 1), (int(x0), size[1] - int(x1) - 1)))
                  for x0, y0, x1, y1 in areas)
    assert len(areas) == len(corners) and painted.max() == 1


@pytest.mark.parametrize("tracked", [True, False])
def test_labels_that_meet_in_a_corner_give_way_to_those_between_pixels(tracked, monkeypatch):
    """Places that were clamped to the picture are whole numbers, those of other labels are not."""
    areas = []
    rectangle = ImageDraw.ImageDraw.rectangle
    monkeypatch.setattr(ImageDraw.ImageDraw, "rectangle", lambda self, area, fill=None, **more: (
        areas.append(area) if fill else None, rectangle(self, area, fill=fill, **more)))
    for box in ([-5.5, 3.3, 20.2, 30.7], [150.4, 5.2, 159.7, 20.1], [140.5, 110.25, 160, 120]):
        corner = [[159, 119, 160, 120] if box[1] > 100 else [159, -3, 160, 9] if box[0] > 100 else [-9, -9, 20, 20]]
        areas.clear()
        found = targets([box, *corner, box], lost=[False] * 3)
        if not tracked:
            found.remove("pred_ids")
        assert draw_detections(noise(), found, ["target"]).shape == (120, 160, 3)
        a, b, c = (np.array(area) for area in areas)
        assert all((p[3] < q[1] or q[3] < p[1]) for p, q in ((a, b), (a, c), (b, c)))


def test_more_labels_than_there_is_room_for_are_written_all_the_same():
    assert draw_detections(noise((24, 60)), tracks(np.ones((40, 24, 60), bool), range(40)), NAMES).shape == (24, 60, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (17, 23), (33, 301)])
def test_any_size_can_be_drawn_on(size):
    mask = np.ones((1, *size), bool)
    drawn = draw_detections(noise(size), tracks(mask, [200]), NAMES)
    assert drawn.shape == (*size, 3) and draw_note(noise(size), "unreadable").shape == (*size, 3)


def test_nothing_found_leaves_the_picture_and_a_note_leaves_its_source():
    image = noise()
    before = image.copy()
    nothing = Instances((120, 160), pred_boxes=Boxes(torch.zeros(0, 4)), scores=torch.zeros(0),
                        pred_classes=torch.zeros(0, dtype=torch.int64))
    drawn = draw_detections(image, nothing, NAMES)
    assert (drawn == image).all() and drawn is not image
    assert (draw_note(image, "gone") != image).any() and (image == before).all()


def test_class_names_of_any_script_and_several_lines_are_written():
    found = tracks(squares((20, 0), (60, 0), (75, 120)), [0, 1, 2])
    assert draw_detections(noise(), found, NAMES).shape == (120, 160, 3)


@pytest.mark.parametrize("tracked", [True, False])
def test_detectron2s_visualizer_paints_the_same_places_in_the_same_colours(tracked):
    image = np.full((120, 160, 3), 40, np.uint8)
    found = tracks(squares((60, 70)), [7])
    if not tracked:
        found.remove("pred_masks")
    ours, theirs = (draw(image, found, NAMES).astype(int) for draw in (draw_detections, visualize_detections))
    assert ours.shape == theirs.shape == image.shape
    changed = [(drawn != image).any(2) for drawn in (ours, theirs)]
    inside = found.pred_masks[0].numpy() if tracked else changed[0] & changed[1]
    assert changed[1][inside].mean() > 0.9 and changed[0][inside].mean() > 0.9
    strongest = [drawn[inside].mean(0).argmax() for drawn in (ours, theirs)]
    assert strongest[0] == strongest[1]


def test_visualizer_leaves_a_frame_without_detections_and_a_tiny_one_as_draw_detections_does():
    for image, found in ((noise((60, 50)), tracks(np.zeros((0, 60, 50), bool), [])),
                         (noise((12, 9)), tracks(np.ones((1, 12, 9), bool), [3]))):
        assert np.array_equal(visualize_detections(image, found, NAMES), draw_detections(image, found, NAMES))


def targets(boxes, *, lost, scores=None, size=(120, 160)):
    count = len(boxes)
    return Instances(size, pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32)),
                     scores=torch.tensor(scores or [0.8] * count), pred_classes=torch.zeros(count, dtype=torch.int64),
                     pred_ids=torch.arange(count), pred_lost=torch.tensor(lost))


def edge(picture, image):
    """-> bool: which pixels of the box's lowest row changed, without its ends."""
    return (picture != image).any(2)[99, 34:126]


@pytest.mark.parametrize("draw", [draw_detections, visualize_detections])
def test_the_box_of_a_lost_target_is_dashed_and_dim(draw):
    image = np.full((120, 160, 3), 40, np.uint8)
    sure, lost = (draw(image, targets([[30, 20, 130, 100]], lost=[lost]), ["target"]) for lost in (False, True))
    assert edge(sure, image).all() and 0.2 < edge(lost, image).mean() < 0.8
    steps = np.abs(np.diff(edge(lost, image).astype(int))).sum()
    assert steps >= 4  # several dashes
    assert sure[99, 34:126].max(0)[0] > lost[99, 34:126].max(0)[0] > 60


def test_targets_have_colours_of_their_own_and_labels_that_say_what_is_known(monkeypatch):
    written = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, at, text, **how: written.append(text))
    found = targets([[5, 20, 50, 50], [60, 40, 100, 80], [20, 80, 50, 110]], lost=[False, True, False],
                    scores=[0.83, 0.124, float("nan")])
    drawn = draw_detections(noise(), found, ["target"])
    assert written == ["target 83% #0", "target 12% #1 lost", "target #2"]
    assert (drawn[49, 10:45] == rgb(track_color(0))).all() and (drawn[109, 25:45] == rgb(track_color(2))).all()


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("box", [[-900, -900, 9000, 9000], [-1e9, 10, 1e9, 20], [-20, -20, -10, -10], [3, 3, 3, 3],
                                 [-5, -5, 5, 5]])
def test_boxes_of_targets_may_lie_anywhere(box, lost):
    for size in ((5, 5), (60, 90)):
        for draw in (draw_detections, visualize_detections):
            assert draw(noise(size), targets([box], lost=[lost], size=size), ["target"]).shape == (*size, 3)
