"""Training samples of a tracker: what is in them lies where their box says, and comes from where they say."""

import numpy as np
import pytest
import torch
from PIL import Image
from track_sets import lines

from stpn.data import tracking_mapper
from stpn.data.datasets import load_got10k
from stpn.data.track_crops import View
from stpn.data.track_sampling import label_box
from stpn.data.tracking_mapper import TrackingMapper
from stpn.data.video import VideoIndex
from stpn.errors import InputError
from stpn.prompting.sampling import PastSampler

SIZE, LENGTH = (96, 72), 24
BACK, LEFT, RIGHT = 60, 150, 220  # grey levels of the background and of the target's two halves
ABSENT = range(10, 14)
# Pixels of a crop: the published mirror is a pixel of the frame off, its squares begin at whole ones.
TOLERANCE = 3


def target_boxes(shift):
    t = np.arange(LENGTH)[:, None]
    return np.concatenate([30 + shift + t % 7, 24 + t % 5, 12 + 0 * t, 16 + 0 * t], axis=1).astype(float)


def write_targets(folder, boxes, *, absent=()):
    """A target of two halves on a plain background; in frames without it, only the background."""
    folder.mkdir(parents=True)
    for t, (x, y, w, h) in enumerate(boxes.astype(int)):
        image = np.full((SIZE[1], SIZE[0], 3), BACK, np.uint8)
        if t not in absent:
            image[y:y + h, x:x + w // 2], image[y:y + h, x + w // 2:x + w] = LEFT, RIGHT
        Image.fromarray(image).save(folder / f"{t + 1:08d}.png")
    (folder / "groundtruth.txt").write_text(lines(boxes))
    (folder / "absence.label").write_text("".join(f"{int(t in absent)}\n" for t in range(len(boxes))))


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """-> (records of A, whose target is away for some frames, and B, always there; VideoIndex)."""
    root, index = tmp_path_factory.mktemp("sets"), VideoIndex()
    write_targets(root / "A", target_boxes(0), absent=ABSENT)
    write_targets(root / "B", target_boxes(20))
    records, _ = load_got10k(root, name="x", video_index=index)
    return records, index


def mapper(index, **options):
    options = {"template": View(32, 2.0), "search": View(64, 5.0, 4.5, 0.5), "flip": 0.5, "brightness": 0.2,
               "gray": 0.3, **options}
    return TrackingMapper(video_index=index, **options)


def samples(make, record, count=40):
    return [make({**record, "sample_seed": (5, i)}) for i in range(count)]


def seen_box(image):
    """Where the target is in a crop, by its grey levels -> (x1, y1, x2, y2 in pixels, is its right half the brighter
    one), None when it is not to be seen."""
    pixels = image.numpy()[0].astype(float)
    ys, xs = np.nonzero(pixels > 100)  # 60 * 1.2 is below, 150 * 0.8 above
    if not len(xs):
        return None
    x1, y1, x2, y2 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    middle = (x1 + x2) // 2
    return (x1, y1, x2, y2), pixels[y1:y2, middle:x2].mean() > pixels[y1:y2, x1:middle].mean()


def test_the_box_lies_on_the_target_through_jitter_flips_and_brightness(sets):
    (_, record), index = sets
    found = samples(mapper(index), record, 60)
    for sample in found:
        box, _ = seen_box(sample["image"])
        np.testing.assert_allclose(sample["box"].numpy() * 64, box, atol=TOLERANCE)
        assert sample["present"] == 1.0
        assert (sample["image"].dtype, sample["box"].dtype) == (torch.uint8, torch.float32)
    sides = [[seen_box(image)[1] for image in (sample["image"], *sample["templates"])] for sample in found]
    # Each crop is mirrored apart: all eight combinations come.
    assert len(set(map(tuple, sides))) == 8


def test_the_target_is_in_the_middle_of_its_templates(sets):
    (_, record), index = sets
    for sample in samples(mapper(index), record, 20):
        assert sample["templates"].shape == (2, 3, 32, 32)
        for template in sample["templates"]:
            (x1, y1, x2, y2), _ = seen_box(template)
            assert abs(x1 + x2 - 32) <= 3 and abs(y1 + y2 - 32) <= 3
            assert x2 - x1 == pytest.approx(32 / 2 * np.sqrt(12 / 16), abs=2)


def test_a_sample_is_a_function_of_its_seed(sets):
    (_, record), index = sets
    make = mapper(index, sampler=PastSampler())
    one, two, other = (make({**record, "sample_seed": seed}) for seed in (7, 7, 8))
    assert all(torch.equal(torch.as_tensor(one[key]), torch.as_tensor(two[key])) for key in one
               if not isinstance(one[key], str)) and one["file_name"] == two["file_name"]
    assert not torch.equal(one["image"], other["image"])


def test_support_frames_move_nothing_else(sets):
    (_, record), index = sets
    plain, prompted = mapper(index), mapper(index, sampler=PastSampler(train_frames=3))
    for one, two in zip(samples(plain, record, 15), samples(prompted, record, 15), strict=True):
        assert "support_images" not in one and two["support_images"].shape == (3, 3, 64, 64)
        for key in ("image", "templates", "box"):
            assert torch.equal(one[key], two[key])
        assert (one["frame_index"], one["template_indices"]) == (two["frame_index"], two["template_indices"])


def test_smaller_supports_show_the_same_and_move_nothing_else(sets):
    (record, _), index = sets
    whole, half = (samples(mapper(index, sampler=PastSampler(stride=2), support_resize=scale), record, 10)
                   for scale in (1.0, 0.5))
    for a, b in zip(whole, half, strict=True):
        assert b["support_images"].shape == (2, 3, 32, 32) and torch.equal(a["image"], b["image"])
        small = torch.nn.functional.avg_pool2d(a["support_images"].float(), 2)
        assert (small - b["support_images"]).abs().mean() < 4  # a filter over more than 2x2 pixels is used


def test_supports_are_mirrored_as_the_search_region_and_as_bright(sets):
    (_, record), index = sets
    for sample in samples(mapper(index, sampler=PastSampler()), record, 30):
        (_, side) = seen_box(sample["image"])
        brightest = int(sample["image"].max())
        for image in sample["support_images"]:
            found = seen_box(image)
            assert found[1] == side and abs(int(image.max()) - brightest) <= 1
    jitter = [sample["support_images"] for sample in samples(mapper(index, sampler=PastSampler()), record, 3)]
    assert not torch.equal(jitter[0][0], jitter[0][1]) or not torch.equal(jitter[1][0], jitter[1][1])


@pytest.mark.parametrize("mode", ["causal", "trident"])
def test_support_indices_go_away_from_the_templates_future(sets, mode):
    (_, record), index = sets
    for sample in samples(mapper(index, mode=mode, sampler=PastSampler(stride=3)), record, 30):
        s, (template, online) = sample["frame_index"], sample["template_indices"]
        sign = 1 if template > s else -1
        assert sample["support_indices"] == [min(max(s + sign * 3 * j, 0), LENGTH - 1) for j in (1, 2)]
        assert mode != "causal" or online < template < s
        assert sample["file_name"].endswith(f"{s + 1:08d}.png")


def test_frames_without_the_target_take_the_last_box_that_showed_it(sets):
    (record, _), index = sets
    assert label_box(record, 12).tolist() == record["boxes"][9].tolist()
    assert label_box(record, 14).tolist() == record["boxes"][14].tolist()
    late = {**record, "absent": np.arange(LENGTH) < 4}
    assert label_box(late, 1).tolist() == record["boxes"][4].tolist()
    for sample in samples(mapper(index), record, 40):
        assert not {sample["frame_index"], *sample["template_indices"]} & set(ABSENT)


def test_samples_without_the_target_are_frames_where_it_is_away(sets):
    (record, _), index = sets
    still = {"search": View(64, 5.0), "brightness": 0.0, "gray": 0.0, "flip": 0.0}
    found = samples(mapper(index, others=[record], positive_share=0.5, mode="trident_pro", **still), record)
    away = [sample for sample in found if not sample["present"]]
    assert 10 <= len(away) <= 30
    for sample in away:
        assert sample["frame_index"] in ABSENT and seen_box(sample["image"]) is None
        scale = 64 / np.ceil(np.sqrt(96 / 8 * 72 / 8) * 5)
        half = np.array([12, 9]) * scale / 64 / 2
        np.testing.assert_allclose(sample["box"], [*(63 / 128 - half), *(63 / 128 + half)], atol=1e-6)


def test_of_a_target_that_is_always_there_another_sequence_is_the_negative(sets):
    (other, record), index = sets
    found = samples(mapper(index, others=[record, other], positive_share=0.5, sampler=PastSampler(stride=2)), record)
    away = [sample for sample in found if not sample["present"]]
    assert 10 <= len(away) <= 30 and all("/B/" in sample["file_name"] for sample in found if sample["present"])
    for sample in away:
        assert "/A/" in sample["file_name"] and sample["video_id"] == "x/B" and sample["frame_index"] not in ABSENT
        box, _ = seen_box(sample["image"])
        np.testing.assert_allclose(sample["box"].numpy() * 64, box, atol=TOLERANCE)
        assert sample["support_indices"] == [max(sample["frame_index"] - 2 * j, 0) for j in (1, 2)]


def test_share_of_samples_without_the_target_does_not_move_their_templates(sets):
    (other, record), index = sets
    always, half = (mapper(index, others=[record, other], positive_share=share) for share in (1.0, 0.5))
    for one, two in zip(samples(always, record, 15), samples(half, record, 15), strict=True):
        assert torch.equal(one["templates"], two["templates"]) and one["template_indices"] == two["template_indices"]


def test_missing_pictures_are_never_drawn(sets):
    (_, record), index = sets
    missing = [0, 1, 2, 5, 9, 15, 16, 20]
    for mode in ("causal", "trident_pro"):
        for sample in samples(mapper(index, mode=mode), {**record, "missing_frames": missing}, 30):
            assert not {sample["frame_index"], *sample["template_indices"]} & set(missing)


def test_a_support_picture_that_is_not_there_is_replaced_where_that_is_allowed(tmp_path):
    write_targets(tmp_path / "A", target_boxes(0))
    index = VideoIndex()
    (record,), _ = load_got10k(tmp_path, name="x", video_index=index)
    drawn = mapper(index, sampler=PastSampler(stride=1))({**record, "sample_seed": 3})
    gone = drawn["support_indices"][1]
    (tmp_path / f"A/{gone + 1:08d}.png").unlink()
    seed = {**record, "missing_frames": [gone], "sample_seed": 3}
    with pytest.raises(InputError, match="image not found"):
        for i in range(40):
            mapper(index, sampler=PastSampler(stride=1))({**seed, "sample_seed": i})
    for i in range(40):
        mapper(index, sampler=PastSampler(stride=1), allow_missing=True)({**seed, "sample_seed": i})


def test_what_stands_in_for_a_support_frame_is_cut_around_its_own_box_and_named(tmp_path):
    """A target that leaves the old place far behind: the next frame is looked at where it is in that one."""
    t = np.arange(LENGTH)
    boxes = np.stack([10 + 60 * (t > 8), 20 + 0 * t, 12 + 0 * t, 16 + 0 * t], axis=1).astype(float)
    write_targets(tmp_path / "A", boxes)
    index, still = VideoIndex(), {"search": View(64, 2.0), "brightness": 0.0, "gray": 0.0, "flip": 0.0}
    (record,), _ = load_got10k(tmp_path, name="x", video_index=index)
    (tmp_path / "A/00000008.png").unlink()
    (tmp_path / "A/00000009.png").write_bytes(b"no picture")  # both before the jump
    make = mapper(index, sampler=PastSampler(stride=4), allow_missing=True, **still)
    found = samples(make, {**record, "missing_frames": [7, 8]}, 80)
    replaced = [(sample, i) for sample in found for i, far in enumerate((4, 8))
                if max(sample["frame_index"] - far, 0) in (7, 8) and sample["frame_index"] > 8]
    assert len(replaced) > 5
    for sample, i in replaced:
        assert sample["support_indices"][i] == 9
        (x1, y1, x2, y2), _ = seen_box(sample["support_images"][i])  # None around the box of frame 7
        assert abs(x1 + x2 - 64) <= 6 and abs(y1 + y2 - 64) <= 6
    whole = [i for sample in found for i in sample["support_indices"]]
    assert not {7, 8} & set(whole)


@pytest.mark.timeout(20)
def test_negatives_of_a_set_that_is_named_twice_are_of_another_sequence(sets):
    (other, record), index = sets
    options = {"positive_share": 0.0, "mode": "trident_pro"}
    for others in ([record, record, other], [dict(record), other, dict(record), dict(other)]):
        found = samples(mapper(index, others=others, **options), record, 5)
        assert all("/A/" in sample["file_name"] for sample in found)


def test_boxes_outside_of_their_frames_end_in_an_error_that_names_the_sequence(sets):
    (_, record), index = sets
    with pytest.raises(InputError, match="^x/B: 20 draws of templates and search region lie outside of the frames"):
        mapper(index)({**record, "boxes": record["boxes"] + [2000, 0, 0, 0]})
    far = record["boxes"] + np.where(np.arange(LENGTH)[:, None] < 20, [[2000, 0, 0, 0]], 0)  # some frames are sound
    assert mapper(index, max_gap=3)({**record, "boxes": far, "sample_seed": 0})["frame_index"] >= 22


def test_pictures_of_another_size_than_the_labels_are_refused(sets):
    (_, record), index = sets
    with pytest.raises(InputError, match=r"is 96x72 pixels, but the labels are for 640x360.*correct meta_info.ini"):
        mapper(index)({**record, "width": 640, "height": 360})


def test_real_boxes_come_back_from_their_crops(sample_data_dir, monkeypatch):
    """got10k_mini: the box of each sample, mapped back through the region that was looked at, is the label."""
    index, around = VideoIndex(), []
    records, _ = load_got10k(sample_data_dir / "got10k_mini/train", name="m", video_index=index)

    def spy(*arguments, jittered=tracking_mapper.jittered):
        around.append(jittered(*arguments))
        return around[-1]

    monkeypatch.setattr(tracking_mapper, "jittered", spy)
    for number, record in enumerate(records):
        around.clear()
        sample = mapper(index, flip=0.0, search=View(320, 5.0, 4.5, 0.5))({**record, "sample_seed": number})
        x, y, w, h = around[-1]  # template, online template, search region; again if a draw was in vain
        side = np.ceil(np.sqrt(w * h) * 5)
        middle, ends = np.array([x + w / 2, y + h / 2] * 2), sample["box"].numpy().astype(float)
        back = (ends - 319 / 640) * side + middle
        bx, by, bw, bh = record["boxes"][sample["frame_index"]]
        inside = (ends > 0) & (ends < 1)
        assert inside.sum() >= 2
        np.testing.assert_allclose(back[inside], np.array([bx, by, bx + bw, by + bh])[inside], atol=1e-3)
        np.testing.assert_allclose(around[-3:-1], record["boxes"][sample["template_indices"]], atol=1e-9)
