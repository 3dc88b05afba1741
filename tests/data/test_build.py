import itertools
import os
import re
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils import comm
from hypothesis import given, settings
from hypothesis import strategies as st

from stpn.data import samplers
from stpn.data.build import SampleError, build_video_test_loader, build_video_train_loader
from stpn.data.samplers import PositionSampler, TrainOrder, VideoShardSampler, shard_videos
from stpn.errors import InputError


def take(cfg, count, **options):
    return list(itertools.islice(build_video_train_loader(cfg, **options), count))


def signature(batch):
    return [(s["file_name"], s["support_indices"], s["image"].shape, int(s["image"].sum()),
             int(s["support_images"].sum()), s["instances"].gt_boxes.tensor.tolist()) for s in batch]


# ---- the stream of training samples


@pytest.fixture(scope="module")
def portrait():
    return np.arange(23) % 3 == 0


def test_an_epoch_shows_every_sample_once(portrait):
    order = TrainOrder(23, seed=0, batch_size=4)
    epochs = [[order(p) for p in range(e * 23, (e + 1) * 23)] for e in range(3)]
    assert all(sorted(epoch) == list(range(23)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_grouped_batches_hold_one_orientation_and_leave_out_less_than_a_batch(portrait):
    order = TrainOrder(23, seed=0, batch_size=4, portrait=portrait)
    seen = Counter()
    for epoch in range(30):
        positions = range(epoch * 20, (epoch + 1) * 20)
        batches = np.array([order(p) for p in positions]).reshape(5, 4)
        assert len(set(batches.ravel())) == 20
        assert sum(len(set(portrait[batch])) > 1 for batch in batches) <= 1
        seen.update(batches.ravel().tolist())
    assert len(seen) == 23 and min(seen.values()) > 15


def test_order_is_a_function_of_seed_and_position(portrait):
    stream = [TrainOrder(23, seed=5, batch_size=4, portrait=portrait)(p) for p in range(70)]
    shuffled = TrainOrder(23, seed=5, batch_size=4, portrait=portrait)
    assert {p: shuffled(p) for p in (69, 3, 41, 0)} == {p: stream[p] for p in (69, 3, 41, 0)}
    assert stream != [TrainOrder(23, seed=6, batch_size=4, portrait=portrait)(p) for p in range(70)]


def test_fewer_samples_than_a_batch_are_repeated():
    order = TrainOrder(3, seed=0, batch_size=8, portrait=[True, False, True])
    assert Counter(order(p) for p in range(9)) == {0: 3, 1: 3, 2: 3}


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_processes_together_see_the_batches_of_one(world_size):
    parts = [PositionSampler(8, start_iter=5, rank=r, world_size=world_size) for r in range(world_size)]
    local = 8 // world_size
    streams = [iter(part) for part in parts]
    for iteration in range(5, 8):
        batch = [next(stream) for stream in streams for _ in range(local)]
        assert batch == list(range(8 * iteration, 8 * iteration + 8))


# ---- the training loader


def test_same_seed_gives_equal_batches_and_another_seed_others(tiny_cfg):
    first = [signature(batch) for batch in take(tiny_cfg, 5)]
    assert first == [signature(batch) for batch in take(tiny_cfg, 5)]
    tiny_cfg.SEED = 4
    assert first != [signature(batch) for batch in take(tiny_cfg, 5)]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores, on purpose
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_number_of_workers_does_not_change_the_batches(tiny_cfg, workers):
    alone = [signature(batch) for batch in take(tiny_cfg, 4)]
    tiny_cfg.DATALOADER.NUM_WORKERS = workers
    assert alone == [signature(batch) for batch in take(tiny_cfg, 4)]


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_loader_goes_on_with_the_batches_of_the_uninterrupted_one(tiny_cfg, workers):
    whole = [signature(batch) for batch in take(tiny_cfg, 9)]
    tiny_cfg.DATALOADER.NUM_WORKERS = workers
    assert whole[6:] == [signature(batch) for batch in take(tiny_cfg, 3, start_iter=6)]


def test_two_processes_share_the_batches_of_one(tiny_cfg, monkeypatch):
    alone = [signature(batch) for batch in take(tiny_cfg, 4)]
    halves = []
    for rank in range(2):
        for module in (comm, samplers.comm):
            monkeypatch.setattr(module, "get_world_size", lambda: 2)
            monkeypatch.setattr(module, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr("detectron2.data.build.get_world_size", lambda: 2)
        halves.append([signature(batch) for batch in take(tiny_cfg, 4)])
    assert alone == [a + b for a, b in zip(*halves, strict=True)]


def test_baseline_sees_the_same_key_frames_in_the_same_order(tiny_cfg):
    prompted = take(tiny_cfg, 4)
    tiny_cfg.MODEL.STPN.ENABLED = False
    for ours, plain in zip(itertools.chain(*prompted), itertools.chain(*take(tiny_cfg, 4)), strict=True):
        assert ours["file_name"] == plain["file_name"] and torch.equal(ours["image"], plain["image"])
        assert "support_images" in ours and "support_images" not in plain


def test_frames_without_objects_are_left_out_and_counted(tiny_cfg, caplog):
    with caplog.at_level("INFO"):
        batches = take(tiny_cfg, 14)
    assert "left out 1 of 8 training frames" in caplog.text
    assert not any(s["video_id"] == "train/b" and s["frame_index"] == 3 for s in itertools.chain(*batches))
    tiny_cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    files = {s["file_name"] for s in itertools.chain(*take(tiny_cfg, 8))}
    assert len(files) == 8


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_sample_is_named_in_one_line(tiny_cfg, tiny_root, workers):
    for path in (tiny_root / "Data" / "VID" / "train").rglob("*.JPEG"):
        path.write_bytes(path.read_bytes()[:200])
    tiny_cfg.DATALOADER.NUM_WORKERS = workers
    with pytest.raises(SampleError) as error:
        take(tiny_cfg, 1)
    assert re.fullmatch(r"training sample \d \(.*JPEG\): cannot read image .*JPEG: [^\n]*", str(error.value))


@pytest.mark.parametrize("workers", [0, 1])
def test_failure_of_a_mapper_names_the_sample(tiny_cfg, workers):
    tiny_cfg.DATALOADER.NUM_WORKERS = workers
    with pytest.raises(RuntimeError, match=r"training sample \d \(.*JPEG\) failed: ZeroDivisionError"):
        take(tiny_cfg, 1, mapper=lambda sample: 1 / 0)


@pytest.mark.parametrize("change, says", [
    (("DATASETS.TRAIN", ("imagenet_vid_trian_15frames",)), "did you mean .*imagenet_vid_train_15frames"),
    (("DATASETS.TRAIN", ()), "DATASETS.TRAIN"),
    (("INPUT.MAPPER", "Nothing"), "known are .*VideoDatasetMapper"),
    (("TEST.AUG.ENABLED", True), "TEST.AUG.ENABLED is True, but there is no test-time augmentation here"),
    (("SOLVER.IMS_PER_BATCH", 0), "IMS_PER_BATCH is 0")])
def test_wrong_setting_is_an_input_error(tiny_cfg, change, says):
    from stpn.data.builtin import register_all
    register_all()
    tiny_cfg.merge_from_list(list(change))
    with pytest.raises(InputError, match=says):
        build_video_train_loader(tiny_cfg)


def test_sets_with_different_classes_cannot_be_trained_together(tiny_cfg):
    DatasetCatalog.get("tiny_test_val")
    tiny_cfg.DATASETS.TRAIN = ("tiny_test_train", "tiny_test_val")
    assert take(tiny_cfg, 1)
    load = DatasetCatalog["tiny_test_val"]
    DatasetCatalog["tiny_test_val"] = lambda: (
        load(), vars(MetadataCatalog.get("tiny_test_val")).update(thing_classes=["x"]))[0]
    with pytest.raises(InputError, match="different class tables"):
        build_video_train_loader(tiny_cfg)


# ---- the test loader


def test_test_sample_is_a_whole_video_with_its_image_ids(tiny_cfg):
    loader = build_video_test_loader(tiny_cfg, "tiny_test_val")
    assert len(loader) == 2
    (c,), (d,) = loader
    assert (c["video_id"], c["image_ids"]) == ("val/c", [1, 2, 3, 4, 5])
    assert (d["video_id"], d["image_ids"]) == ("val/d", [6, 7, 8])
    assert (d["height"], d["width"]) == (48, 64) and d["frames"].length == 3
    items = list(d["frames"])
    assert [item["frame"].index for item in items] == [0, 1, 2]
    assert all(item["image"].shape == (3, 24, 32) and item["width"] == 64 for item in items)


def test_unlabelled_frames_stay_in_the_stream_without_an_id(tiny_cfg, tiny_root, layout):
    layout.list(tiny_root, "VID_val_videos", ["val/c 11 1 5", "val/c 12 3 5"])
    ((video,),) = build_video_test_loader(tiny_cfg, "tiny_test_val")
    assert video["image_ids"] == [None, 11, None, 12, None]
    assert len(list(video["frames"])) == 5


def test_evaluation_does_not_move_the_random_state_of_training(tiny_cfg):
    state = torch.get_rng_state()
    for (video,) in build_video_test_loader(tiny_cfg, "tiny_test_val"):
        list(video["frames"])
    assert torch.equal(state, torch.get_rng_state())


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 3000), max_size=40), st.integers(1, 5))
def test_every_video_is_in_exactly_one_shard_and_loads_are_balanced(lengths, world_size):
    shards = [list(VideoShardSampler(lengths, rank=r, world_size=world_size)) for r in range(world_size)]
    assert sorted(itertools.chain(*shards)) == list(range(len(lengths)))
    assert all(shard == sorted(shard) for shard in shards)
    loads = [sum(lengths[i] for i in shard) for shard in shard_videos(lengths, world_size)]
    assert max(loads) - min(loads) <= max(lengths, default=0)


def _run_rank(rank, world_size, cfg, root, queue):
    os.environ["DETECTRON2_DATASETS"] = root
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world_size,
                                         init_method=f"file://{root}/rendezvous")
    from detectron2.data import build as d2_build
    assert d2_build.get_world_size() == world_size
    train = [signature(batch) for batch in take(cfg, 2)]
    test = [video["video_id"] for (video,) in build_video_test_loader(cfg, "tiny_test_val")]
    queue.put((rank, train, test))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_gloo_processes_share_training_batches_and_split_the_videos(tiny_cfg, tiny_root):
    context = mp.get_context("fork")  # keeps the registered sets
    queue = context.Queue()
    run = partial(context.Process, target=_run_rank)
    ranks = [run(args=(r, 2, tiny_cfg, str(tiny_root.parent), queue)) for r in range(2)]
    for process in ranks:
        process.start()
    results = sorted(queue.get(timeout=60) for _ in ranks)
    for process in ranks:
        process.join(30)
    assert [process.exitcode for process in ranks] == [0, 0]
    alone = [signature(batch) for batch in take(tiny_cfg, 2)]
    assert alone == [a + b for a, b in zip(results[0][1], results[1][1], strict=True)]
    assert sorted(results[0][2] + results[1][2]) == ["val/c", "val/d"]
