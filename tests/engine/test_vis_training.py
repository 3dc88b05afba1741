"""Training of the segmenter beyond one process and one precision: gradients of two processes, mixed precision."""

import multiprocessing

import pytest
import torch
from detectron2.engine import create_ddp_model
from detectron2.utils.events import EventStorage
from tiny_vis import training_sample, vis_config, vis_model
from torch import distributed

from stpn.engine.guards import check_losses
from stpn.engine.optimizer import build_optimizer
from stpn.engine.trainer import Trainer
from stpn.errors import InputError

BATCH = [training_sample(0), training_sample(1)]
UNEVEN = [training_sample(2, objects=2), training_sample(3, objects=0)]


def steps(model, batches):
    """One backward pass a batch -> [(losses, {parameter: gradient})]. Sampled points are the same in every mask and
    batch: processes would draw others than one process does."""
    drawn, found = torch.rand, []
    torch.rand = lambda *shape, device=None: (torch.arange(1, 2 * shape[1] + 1) * 0.618034 % 1).view(
        1, shape[1], 2).expand(shape).contiguous()
    try:
        for batch in batches:
            model.zero_grad()
            with EventStorage():
                losses = model(batch)
            sum(losses.values()).backward()
            found.append(({name: loss.item() for name, loss in losses.items()},
                          {name: p.grad.clone() for name, p in model.named_parameters()}))
    finally:
        torch.rand = drawn
    return found


def _rank(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    # As Trainer wraps it: a parameter without a gradient would stop the second backward pass.
    model = create_ddp_model(vis_model().train(), broadcast_buffers=False, device_ids=None)
    torch.save(steps(model, [BATCH[rank:rank + 1], UNEVEN[rank:rank + 1]]), folder / f"{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_processes_get_the_gradients_of_one_with_both_samples(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_rank, args=(rank, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    alone = steps(vis_model().train(), [BATCH, UNEVEN])
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name, gradient in alone[0][1].items():
        for rank in ranks:
            shared = rank[0][1][f"module.{name}"]
            torch.testing.assert_close(shared, gradient, rtol=1e-3, atol=1e-5 * max(1, gradient.abs().max().item()))
    for step, (losses, _) in enumerate(alone):  # in the second, one process has all of the objects
        for name, value in losses.items():
            if "_ce" not in name or step == 0:  # a weighted mean of each process: equal counts only
                assert (ranks[0][step][0][name] + ranks[1][step][0][name]) / 2 == pytest.approx(value, rel=1e-4), name
    assert ranks[1][1][0]["loss_mask"] == 0 < ranks[0][1][0]["loss_mask"]


def losses_in(dtype, model, batch):
    """Losses under mixed precision of this dtype; None: without."""
    torch.manual_seed(5)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None), EventStorage():
        return model(batch)


def overflowing():
    """A model whose masks leave the range of half precision, 65504, where they are computed in it."""
    model = vis_model().train()
    model.sem_seg_head.predictor.mask_embed.layers[-1].weight.data *= 1e6
    return model


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_trains_with_losses_in_single_precision(dtype):
    model = vis_model().train()
    optimizer = build_optimizer(vis_config("SOLVER.CLIP_GRADIENTS.ENABLED", True, "SOLVER.CLIP_GRADIENTS.CLIP_TYPE",
                                           "full_model", "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 0.01), model)
    before = [p.detach().clone() for p in model.parameters()]
    losses = losses_in(dtype, model, BATCH)
    assert {(loss.dtype, bool(loss.isfinite())) for loss in losses.values()} == {(torch.float32, True)}
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    optimizer.step()
    assert torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in model.parameters()])) < 0.0101
    assert all(p.isfinite().all() for p in model.parameters())
    assert any(not torch.equal(p, old) for p, old in zip(model.parameters(), before))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_gives_each_part_the_gradient_of_single_precision(dtype):
    """The encoder runs on supports, without gradient, and on the frame, with it, in one autocast context, which keeps
    the weights that it has cast."""
    norms = []
    for used in (None, dtype):
        model = vis_model().train()
        sum(losses_in(used, model, BATCH).values()).backward()
        norms.append({part: torch.stack([p.grad.norm() for p in getattr(model, part).parameters()]).norm().item()
                      for part in ("backbone", "prompt_predictor", "sem_seg_head")})
    for part, norm in norms[0].items():
        assert 0.8 < norms[1][part] / norm < 1.25, part


def test_masks_beyond_half_precision_end_the_training_with_one_line():
    model = overflowing()
    single = losses_in(None, model, BATCH)
    assert all(loss.isfinite() for loss in single.values()) and single["loss_mask"] > 65504
    losses = losses_in(torch.float16, model, BATCH)
    assert losses["loss_ce"].isfinite() and not losses["loss_mask"].isfinite()
    with pytest.raises(FloatingPointError, match="loss is not finite at iteration 7: .*loss_mask=.*frames: noise 0"):
        check_losses(losses, iteration=7, batch=BATCH)


def test_frames_without_an_object_train_on_whatever_half_precision_makes_of_the_masks():
    empty = [training_sample(0, objects=0), training_sample(1, objects=0)]
    losses = losses_in(torch.float16, overflowing(), empty)
    assert all(loss.isfinite() for loss in losses.values()) and losses["loss_mask"] == 0 < losses["loss_ce"]


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_gradients_are_clipped_after_the_loss_scale_is_taken_off_again(scale):
    """One step of SGD at rate 1: the step is the clipped gradient, whatever mixed precision multiplied the loss by."""
    layer = torch.nn.Linear(2, 1, bias=False)
    optimizer = build_optimizer(vis_config(
        "SOLVER.OPTIMIZER", "SGD", "SOLVER.BASE_LR", 1.0, "SOLVER.MOMENTUM", 0.0, "SOLVER.WEIGHT_DECAY", 0.0,
        "SOLVER.CLIP_GRADIENTS.ENABLED", True, "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "full_model",
        "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 1.0), layer)
    scaler, before = torch.amp.GradScaler("cpu", init_scale=scale), layer.weight.detach().clone()
    for factor in (torch.tensor([[float("inf"), 0.0]]), torch.tensor([[0.3, 0.4]]), torch.tensor([[3.0, 4.0]])):
        optimizer.zero_grad()
        scaler.scale((layer.weight * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update(scale)
    # The first was skipped, the second is below the limit, the third is cut to 1.
    torch.testing.assert_close(before - layer.weight.detach(), torch.tensor([[0.9, 1.2]]))


def test_mixed_precision_without_a_gpu_is_refused_before_anything_is_read():
    with pytest.raises(InputError, match="CUDA.*SOLVER.AMP.ENABLED False"):
        Trainer(vis_config("SOLVER.AMP.ENABLED", True, "DATASETS.TRAIN", ("ytvis_2019_train",)))
