"""Non-finite losses stop all processes with names; randomness is a function of (seed, iteration, rank)."""

import multiprocessing
import random

import numpy as np
import pytest
import torch
from torch import distributed

from stpn.engine.guards import check_losses, seed_iteration

BATCH = [{"file_name": "val/a/000001.JPEG"}, {"video_id": "val/b", "frame_index": 7}]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_loss_that_is_not_finite_names_iteration_losses_and_frames(value):
    losses = {"loss_cls": torch.tensor(value, requires_grad=True), "loss_box_reg": torch.tensor([0.25])}
    with pytest.raises(FloatingPointError) as error:
        check_losses(losses, iteration=41, batch=BATCH)
    text = str(error.value)
    assert "\n" not in text
    for part in (
        "iteration 41",
        f"loss_cls={value:.4g}",
        "loss_box_reg=0.25",
        "000001.JPEG",
        "val/b, frame 7",
        "--resume",
    ):
        assert part in text


def test_finite_losses_pass():
    check_losses(
        {"a": torch.tensor(3e38), "b": torch.tensor(1.0, dtype=torch.float16)}, iteration=0, batch=BATCH
    )
    check_losses({}, iteration=0, batch=[])


def _rank(rank, store, results):
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    for iteration in range(5):
        value = float("inf") if (rank, iteration) == (1, 3) else 1.0
        try:
            check_losses(
                {"loss": torch.tensor(value)}, iteration=iteration, batch=[{"file_name": f"{rank}.jpg"}]
            )
        except FloatingPointError as error:
            results.put((rank, iteration, str(error)))
            return


def test_all_processes_raise_together_and_name_the_guilty_one(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_rank, args=(rank, tmp_path / "store", results)) for rank in range(2)]
    for process in processes:
        process.start()
    raised = sorted(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    assert [(rank, iteration) for rank, iteration, _ in raised] == [(0, 3), (1, 3)]
    assert raised[0][2] == raised[1][2] and "process 1: loss=inf; frames: 1.jpg" in raised[0][2]


def draws():
    return (*torch.rand(3).tolist(), *np.random.rand(3), random.random())


def test_randomness_is_a_function_of_seed_iteration_and_rank():
    seen = set()
    for key in [(0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0), (0, 70_000, 0), (2**31, 5, 3)]:
        seed_iteration(*key)
        first = draws()
        seed_iteration(*key)
        assert draws() == first
        seen.add(first)
    assert len(seen) == 6


def test_negative_seed_leaves_the_generators_alone():
    seed_iteration(3, 0)
    expected = draws()
    seed_iteration(3, 0)
    seed_iteration(-1, 0)
    assert draws() == expected
