"""Which sample comes when, and which process evaluates which video. Index arithmetic; no pictures.

Letters: N samples, B samples a batch over all processes (SOLVER.IMS_PER_BATCH), p position in the stream.
"""

import itertools

import numpy as np
from detectron2.utils import comm
from torch.utils.data import Sampler


class TrainOrder:
    """The endless training stream as a function: order(p) -> sample index, the same for the same seed.

    Each epoch is a new shuffle of all samples. With `portrait`, batches hold pictures of one orientation
    (less padding): the shuffle is cut into such batches and the batches are shuffled; what does not fill a
    batch is mixed, and fewer than B samples, others each epoch, are left out.
    """

    def __init__(self, size, *, seed, batch_size, portrait=None):
        """portrait: (N,) bool, higher than wide; None turns grouping off."""
        if size < 1 or batch_size < 1:
            raise ValueError(f"training stream of {size} samples in batches of {batch_size}; expected 1 up")
        grouped = portrait is not None and 0 < np.count_nonzero(portrait) < size and size >= batch_size
        self._size, self._seed, self._batch = size, seed, batch_size
        self._portrait = np.asarray(portrait, dtype=bool) if grouped else None
        self._epoch_length = size - size % batch_size if grouped else size
        self._epoch, self._indices = None, None

    def __call__(self, position):
        epoch, offset = divmod(position, self._epoch_length)
        if epoch != self._epoch:
            self._epoch, self._indices = epoch, self._shuffle(epoch)
        return int(self._indices[offset])

    def _shuffle(self, epoch):
        rng = np.random.default_rng([self._seed, epoch])
        order = rng.permutation(self._size)
        if self._portrait is None:
            return order
        batch = self._batch
        groups = [order[~self._portrait[order]], order[self._portrait[order]]]
        whole = [group[: len(group) - len(group) % batch] for group in groups]
        rest = np.concatenate([group[len(part):] for group, part in zip(groups, whole, strict=True)])
        rest = rest[: len(rest) - len(rest) % batch]
        batches = np.concatenate([*whole, rest]).reshape(-1, batch)
        return rng.permutation(batches).reshape(-1)


class PositionSampler(Sampler):
    """Positions of this process in the endless stream, from iteration start_iter on: of each batch of B the
    rank-th part. N processes together see the batches that one process would."""

    def __init__(self, batch_size, *, start_iter=0, rank=None, world_size=None):
        world_size = comm.get_world_size() if world_size is None else world_size
        if batch_size % world_size:
            raise ValueError(f"a batch of {batch_size} cannot be shared by {world_size} processes")
        self._rank = comm.get_rank() if rank is None else rank
        self._batch, self._local, self._start = batch_size, batch_size // world_size, start_iter

    def __iter__(self):
        for iteration in itertools.count(self._start):
            first = iteration * self._batch + self._rank * self._local
            yield from range(first, first + self._local)


class VideoShardSampler(Sampler):
    """The videos that this process evaluates: each video goes to exactly one process, whole.

    Longest first, each to the process with the fewest frames so far; processes may get none.
    """

    def __init__(self, lengths, *, rank=None, world_size=None):
        """lengths: frames of each video."""
        world_size = comm.get_world_size() if world_size is None else world_size
        rank = comm.get_rank() if rank is None else rank
        self._indices = sorted(shard_videos(lengths, world_size)[rank])

    def __iter__(self):
        return iter(self._indices)

    def __len__(self):
        return len(self._indices)


def shard_videos(lengths, world_size):
    """-> per process the indices of its videos; every process computes the same answer."""
    shards, loads = [[] for _ in range(world_size)], [0] * world_size
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        rank = loads.index(min(loads))
        shards[rank].append(i)
        loads[rank] += lengths[i]
    return shards
