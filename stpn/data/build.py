"""Data loaders: an endless stream of training frames, and whole videos for evaluation."""

import logging

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.build import build_detection_train_loader, trivial_batch_collator
from detectron2.data.common import DatasetFromList
from detectron2.utils import comm
from detectron2.utils.serialize import PicklableWrapper
from torch.utils.data import DataLoader, Dataset

from ..errors import InputError
from .agreement import is_tracker, refuse_other_format, refuse_test_augmentation, task_of
from .instance_mapper import VideoInstanceMapper
from .mapper import MAPPER_REGISTRY, prepare
from .missing import refuse_missing_frames
from .objects import without_empty
from .samplers import PositionSampler, TrainOrder, VideoShardSampler
from .tracking_mapper import TrackingMapper
from .training_dicts import check_known, training_dicts
from .video_samples import LabelledVideos, WholeSequences, WholeVideos

__all__ = ["SampleError", "TrainStream", "build_mapper", "build_video_test_loader", "build_video_train_loader",
           "check_unused", "mapper_of", "without_empty"]

logger = logging.getLogger(__name__)


def build_video_train_loader(cfg, *, start_iter=0, mapper=None):
    """-> loader of lists of IMS_PER_BATCH / processes mapped samples, without end.

    The stream is a function of (SEED, iteration): any number of workers gives the same batches, a run resumed
    at start_iter goes on with those of an uninterrupted one, and N processes share the batches of one.
    """
    batch_size = cfg.SOLVER.IMS_PER_BATCH
    if batch_size < 1 or batch_size % comm.get_world_size():
        raise InputError(f"SOLVER.IMS_PER_BATCH is {batch_size}; expected a multiple of the "
                         f"{comm.get_world_size()} training processes")
    check_unused(cfg)
    dicts = training_dicts(cfg)
    mapper = build_mapper(cfg, dicts) if mapper is None else mapper
    seed = _shared_seed(cfg)
    portrait = None
    if cfg.DATALOADER.ASPECT_RATIO_GROUPING and not is_tracker(cfg):  # a tracker's crops are squares
        portrait = np.array([sample["width"] <= sample["height"] for sample in dicts])
    order = TrainOrder(len(dicts), seed=seed, batch_size=batch_size, portrait=portrait)
    stream = TrainStream(DatasetFromList(dicts, copy=False), mapper, order, seed=seed)
    return build_detection_train_loader(
        stream, mapper=None, sampler=PositionSampler(batch_size, start_iter=start_iter), seed=seed,
        total_batch_size=batch_size, aspect_ratio_grouping=False, num_workers=cfg.DATALOADER.NUM_WORKERS)


def build_mapper(cfg, dicts=()):
    """-> the training mapper that INPUT.MAPPER names. dicts: those of the training, among which a tracker's second
    stage finds frames without the target."""
    mapper = mapper_of(cfg)
    more = {"others": dicts} if issubclass(mapper, TrackingMapper) else {}
    return mapper.from_config(cfg, is_train=True, **more)


def mapper_of(cfg):
    """-> class of the training mapper; InputError for a name that is unknown, or of another task's."""
    if cfg.INPUT.MAPPER not in MAPPER_REGISTRY:
        raise InputError(f"INPUT.MAPPER is {cfg.INPUT.MAPPER!r}; "
                         f"known are {', '.join(name for name, _ in MAPPER_REGISTRY)}")
    mapper = MAPPER_REGISTRY.get(cfg.INPUT.MAPPER)
    kinds = {"ytvis": VideoInstanceMapper, "tracking": TrackingMapper}
    if any(issubclass(mapper, kind) != (task_of(cfg) == task) for task, kind in kinds.items()):
        raise InputError(f"INPUT.MAPPER is {cfg.INPUT.MAPPER}, which does not fit MODEL.META_ARCHITECTURE "
                         f"{cfg.MODEL.META_ARCHITECTURE}; VideoInstanceSegmenter needs VideoInstanceMapper, "
                         "VideoObjectTracker needs TrackingMapper, the other models VideoDatasetMapper")
    return mapper


def build_video_test_loader(cfg, dataset_name, *, done=frozenset()):
    """-> loader of [one whole video], each video in exactly one process; the samples are those of LabelledVideos, of
    WholeVideos for a set of video instance segmentation, of WholeSequences for one of tracking. Frames are decoded
    ahead by the reader's own thread. InputError when a file of any frame is missing. done: ids of the sequences of a
    tracking set to leave out; the processes share the rest."""
    check_known([dataset_name])
    dicts, metadata = DatasetCatalog.get(dataset_name), MetadataCatalog.get(dataset_name)
    refuse_missing_frames(metadata.video_index, dataset_name)
    kinds = {"ytvis": WholeVideos, "got10k": WholeSequences, "ope": WholeSequences}
    kind = kinds.get(metadata.get("evaluator_type"), LabelledVideos)
    left = [record for record in dicts if record["video_id"] not in done]
    videos = kind(left, metadata.video_index, prepare=prepare(cfg))
    # Its own generator: an evaluation between two iterations must not move training's random state.
    return DataLoader(videos, batch_size=1, sampler=VideoShardSampler(videos.lengths), num_workers=0,
                      collate_fn=trivial_batch_collator, generator=torch.Generator())


class SampleError(InputError):
    """A training sample that cannot be used. In a worker it is raised again in the main process with the
    worker's whole traceback as its message; of that, what was said first is kept."""

    def __init__(self, message):
        super().__init__(message.rsplit("SampleError: ", 1)[-1].strip())


class TrainStream(Dataset):
    """Position in the endless stream -> mapped sample. len is the number of samples it draws from."""

    def __init__(self, samples, mapper, order, *, seed):
        self._samples, self._order, self._seed = samples, order, seed
        self._mapper = PicklableWrapper(mapper)  # for workers that are not forked

    def __len__(self):
        return len(self._samples)

    def __getitem__(self, position):
        index = self._order(position)
        sample = self._samples[index]
        place = f"training sample {index} ({sample['file_name']})"
        try:
            return self._mapper({**sample, "sample_seed": (self._seed, position)})
        except InputError as error:
            raise SampleError(f"{place}: {error}") from error
        except Exception as error:
            raise RuntimeError(f"{place} failed: {type(error).__name__}: {error}") from error


def check_unused(cfg):
    """detectron2's options that this loader, mapper and evaluation do not have must not be asked for in vain."""
    refuse_test_augmentation(cfg)
    refuse_other_format(cfg)
    if cfg.INPUT.CROP.ENABLED:
        raise InputError("INPUT.CROP.ENABLED is True, but clips are cropped by INPUT.CLIP_CROP; set that instead")
    if cfg.DATALOADER.SAMPLER_TRAIN != "TrainingSampler":
        raise InputError(f"DATALOADER.SAMPLER_TRAIN is {cfg.DATALOADER.SAMPLER_TRAIN}; only TrainingSampler's order "
                         "is repeatable here; leave it at that")


def _shared_seed(cfg):
    if cfg.SEED >= 0:
        return cfg.SEED
    seed = comm.shared_random_seed()
    logger.info("SEED is %d: the training order is random (seed %d this time), and a resumed run does not "
                "go on where it stopped; set SEED to change that", cfg.SEED, seed)
    return seed
