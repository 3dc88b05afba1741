"""Features of labelled objects, against the model run plainly without a stream; and which objects are taken."""

from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.structures import Boxes, Instances, pairwise_iou
from tiny_toy import TINY, toy_sets

from stpn.data.frame_mapper import prepare
from stpn.engine.config_file import load_config
from stpn.engine.model import build_model
from stpn.errors import InputError
from stpn.explain.labelled_objects import choose_objects, group_objects, load_objects
from stpn.explain.object_features import box_features, check_box_head, object_features, of_both, set_features

ROOT = Path(__file__).resolve().parents[2]
TINY = [str(part) for pair in TINY.items() for part in pair]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    with toy_sets(tmp_path_factory.mktemp("toy"), train=1, val=3):
        yield load_objects("toy_vid_val")


def model_of(name, *overrides):
    cfg = load_config(str(ROOT / f"configs/toy/{name}.yaml"), [*TINY, *overrides])
    torch.manual_seed(0)
    return build_model(cfg).eval(), prepare(cfg)


def reader(toy, to_item, video):
    return toy.metadata.video_index.reader(video, prepare=to_item)


@pytest.mark.parametrize("name, size", [("stpn", 48), ("baseline", 48), ("stpn", 64)])
def test_features_are_those_of_the_head_on_the_frame_with_the_prompts_of_its_supports(toy, name, size):
    model, to_item = model_of(name, "INPUT.MIN_SIZE_TEST", str(size))
    wanted = choose_objects(toy, videos=1, frames_per_video=2)
    (video, inside), = wanted.items()
    rows, features = set_features(model, toy, wanted, prepare=to_item)
    items = list(reader(toy, to_item, video))
    plain, unprompted = [], []
    with torch.no_grad():
        for t, some in inside.items():
            prompts = None
            if name == "stpn":
                clip = torch.stack([items[i]["image"] for i in model.sampler.test(t, len(items))])
                maps = model.backbone(model.clips([clip])[0])["res5"]
                prompts = model.prompt_predictor(maps.permute(0, 2, 3, 1)[None])
            boxes = torch.tensor(toy.truth.box[some] * size / 96, dtype=torch.float32)  # toy frames are 96 x 96
            plain.append(_plainly(model, items[t], boxes, prompts))
            unprompted.append(_plainly(model, items[t], boxes, None))
    assert rows.tolist() == [row for some in inside.values() for row in some] and len(rows) >= 2
    torch.testing.assert_close(torch.from_numpy(features), torch.cat(plain))
    assert torch.allclose(torch.cat(unprompted), torch.cat(plain), atol=1e-4) == (name == "baseline")


def _plainly(model, item, boxes, prompts):
    maps, heads = model.neck(model.backbone(model.images([item["image"]]).tensor, prompts=prompts)), model.roi_heads
    x = heads.box_pooler([maps[name] for name in heads.box_in_features], [Boxes(boxes)]).flatten(1)
    for fc in (heads.box_head.fc1, heads.box_head.fc2):
        x = fc(x).relu()
    return x


def test_selsas_features_score_a_box_as_its_detector_does(toy):
    """A labelled box that is put among the proposals is scored from the same features."""
    model, to_item = model_of("stpn_selsa", "MODEL.SELSA.NUM_HEADS", "4", "INPUT.SELSA.FRAMES_PER_SIDE", "1",
                              "MODEL.RPN.POST_NMS_TOPK_TEST", "6")
    video = next(iter(choose_objects(toy, videos=1)))
    boxes = {1: np.array([[10.0, 20.0, 60.0, 70.0]])}
    (_, features, _), = object_features(model, reader(toy, to_item, video), boxes)
    inner, seen, alone = model.roi_heads, [], []

    def with_box(images, maps, proposals, *, support):
        own = inner._pool(maps, proposals)[0]
        box = Instances(proposals[0].image_size, proposal_boxes=Boxes(torch.tensor(boxes[1]).float() / 2))
        pooled = inner._pool(maps, [box])[0]
        alone.append(inner.box_head(pooled, support[0]))
        support = [(torch.cat([k, k2]), torch.cat([v, v2])) for (k, v), (k2, v2) in
                   zip(support[0], inner.box_head.support(own), strict=True)]
        seen.append(inner.box_head(pooled, support))
        return inner.forward(images, maps, proposals, support=[support])

    del model.roi_heads
    object.__setattr__(model, "roi_heads", with_box)
    with_box.embed, with_box.box_head = inner.embed, inner.box_head
    stream = model.stream(reader(toy, to_item, video))
    with torch.no_grad():
        next(stream), next(stream)
    torch.testing.assert_close(features, seen[1])
    assert not torch.allclose(features, alone[1], atol=1e-4)  # the frame's own proposals count


def test_selsas_gradient_reaches_the_frames_own_proposals_but_not_the_baselines(toy):
    """Outside of the box: the box's own features do not reach there."""
    box, outside = torch.tensor([[1.0, 1.0, 20.0, 20.0]]), {}
    for name, size in (("stpn_selsa", ["MODEL.SELSA.NUM_HEADS", "4"]), ("baseline", [])):
        model, to_item = model_of(name, *size)
        item = next(iter(reader(toy, to_item, next(iter(choose_objects(toy, videos=1))))))
        with torch.no_grad():
            maps = model.neck(model.backbone(model.images([item["image"]]).tensor))
        support = model._embed_proposals((item, None)) if size else None
        maps = {name: values.detach().requires_grad_() for name, values in maps.items()}
        box_features(model, item, maps, box, support=support).square().sum().backward()
        gradients = [values.grad for values in maps.values() if values.grad is not None]
        outside[name] = max(g[..., g.shape[-1] // 2:].abs().max().item() for g in gradients)
        assert max(g.abs().max() for g in gradients) > 0
    assert outside["stpn_selsa"] > 0 == outside["baseline"]


def test_a_detection_stands_for_the_object_that_it_overlaps_most(toy):
    model, to_item = model_of("baseline", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0")
    video = next(iter(choose_objects(toy, videos=1)))
    item = next(iter(reader(toy, to_item, video)))
    found = model.detect(item).pred_boxes
    away = torch.tensor([[-90.0, -90.0, -80.0, -80.0]])
    boxes = torch.cat([found.tensor[3:4] + 1, away, found.tensor[5:6]])
    (_, features, here), = object_features(model, reader(toy, to_item, video), {0: boxes.numpy()}, detected=True)
    assert here.tolist() == [True, False, True] and features[1].isnan().all()
    best = [int(pairwise_iou(found, Boxes(boxes[i:i + 1])).argmax()) for i in (0, 2)]
    (_, expected, _), = object_features(model, reader(toy, to_item, video), {0: found.tensor[best].numpy()})
    torch.testing.assert_close(features[[0, 2]], expected)


def test_objects_of_both_models_are_in_one_order():
    first = np.array([4, 1, 7, 2]), np.array([[4.0], [1.0], [7.0], [2.0]])
    second = np.array([2, 7, 9, 1]), np.array([[20.0], [70.0], [90.0], [10.0]])
    rows, (a, b) = of_both([first, second])
    assert rows.tolist() == [1, 2, 7] and a[:, 0].tolist() == [1, 2, 7] and b[:, 0].tolist() == [10, 20, 70]


def test_speeds_are_those_of_the_track_in_the_ten_frames_on_either_side(toy):
    groups, tracks = group_objects(toy, "speed"), {}
    for record in DatasetCatalog.get("toy_vid_val"):
        for annotation in record["annotations"]:
            track = tracks.setdefault((record["video_id"], annotation["track_id"]), {})
            track[record["frame_index"]] = annotation["bbox"]
    expected = {}
    for (video, _), boxes in tracks.items():
        for t, box in boxes.items():
            near = [_iou(box, boxes[s]) for s in range(t - 10, t + 11) if s != t and s in boxes]
            mean = sum(near) / len(near)
            speed = "slow" if mean > 0.9 else "medium" if mean > 0.7 else "fast"
            expected[(video, t, *box)] = ["all", speed]
    everyone = np.arange(len(toy.truth))
    for row, video, t in zip(everyone, toy.videos(everyone), toy.times(everyone), strict=True):
        assert [name for name in groups if groups[name][row]] == expected[(video, t, *toy.truth.box[row])]
    assert len(everyone) == sum(map(len, tracks.values()))


def _iou(a, b):
    """Of boxes whose corners are pixels of theirs."""
    common = np.prod([max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i]) + 1) for i in (0, 1)])
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return common / (sum(areas) - common)


def test_groups_of_frames_are_the_data_sets(toy):
    groups = group_objects(toy, "clean,deteriorated")
    ids = toy.frames.image_id[toy.truth.frame]
    assert list(groups) == ["all", "clean", "deteriorated"]
    assert set(ids[groups["clean"]]) <= set(toy.metadata.frame_groups["clean"])
    assert (groups["clean"] ^ groups["deteriorated"]).all() and groups["clean"].any()
    assert list(group_objects(toy, "all")) == ["all"]
    with pytest.raises(InputError, match="'dusk'.*clean"):
        group_objects(toy, "clean,dusk")


def test_videos_and_frames_are_spread_evenly_from_first_to_last(toy):
    every = choose_objects(toy)
    assert sum(len(rows) for frames in every.values() for rows in frames.values()) == len(toy.truth)
    some = choose_objects(toy, videos=2, frames_per_video=3)
    assert list(some) == [list(every)[0], list(every)[-1]]
    for video, frames in some.items():
        times = list(every[video])
        assert len(frames) == 3 and [min(frames), max(frames)] == [times[0], times[-1]]
        assert all(frames[t] == every[video][t] for t in frames)


def test_models_and_sets_without_boxes_are_refused():
    with pytest.raises(InputError, match="has not got one box head"):
        check_box_head(torch.nn.Linear(1, 1))
    with pytest.raises(InputError, match="imagenet_vid"):
        load_objects("got10k_val")
