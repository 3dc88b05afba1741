"""Data loaders: an endless stream of training frames, and whole videos for evaluation."""

import logging

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog, get_detection_dataset_dicts
from detectron2.data.build import build_detection_train_loader, trivial_batch_collator
from detectron2.data.common import DatasetFromList
from detectron2.utils import comm
from detectron2.utils.serialize import PicklableWrapper
from torch.utils.data import DataLoader, Dataset

from ..errors import InputError
from .agreement import (
    loaded_classes,
    refuse_different_classes,
    refuse_other_task,
    refuse_test_augmentation,
    refuse_unlabelled,
    task_of,
)
from .builtin import ensure_registered, merged_index
from .instance_mapper import VideoInstanceMapper
from .mapper import MAPPER_REGISTRY, prepare
from .missing import refuse_missing_frames, without_missing
from .objects import has_object, without_empty
from .samplers import PositionSampler, TrainOrder, VideoShardSampler
from .video_samples import LabelledVideos, WholeVideos

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
    dicts = _training_dicts(cfg)
    mapper = build_mapper(cfg) if mapper is None else mapper
    seed = _shared_seed(cfg)
    portrait = None
    if cfg.DATALOADER.ASPECT_RATIO_GROUPING:
        portrait = np.array([sample["width"] <= sample["height"] for sample in dicts])
    order = TrainOrder(len(dicts), seed=seed, batch_size=batch_size, portrait=portrait)
    stream = TrainStream(DatasetFromList(dicts, copy=False), mapper, order, seed=seed)
    return build_detection_train_loader(
        stream, mapper=None, sampler=PositionSampler(batch_size, start_iter=start_iter), seed=seed,
        total_batch_size=batch_size, aspect_ratio_grouping=False, num_workers=cfg.DATALOADER.NUM_WORKERS)


def build_mapper(cfg):
    """-> the training mapper that INPUT.MAPPER names."""
    return mapper_of(cfg).from_config(cfg, is_train=True)


def mapper_of(cfg):
    """-> class of the training mapper; InputError for a name that is unknown, or of another task's."""
    if cfg.INPUT.MAPPER not in MAPPER_REGISTRY:
        raise InputError(f"INPUT.MAPPER is {cfg.INPUT.MAPPER!r}; "
                         f"known are {', '.join(name for name, _ in MAPPER_REGISTRY)}")
    mapper = MAPPER_REGISTRY.get(cfg.INPUT.MAPPER)
    if issubclass(mapper, VideoInstanceMapper) != (task_of(cfg) == "ytvis"):
        raise InputError(f"INPUT.MAPPER is {cfg.INPUT.MAPPER}, which does not fit MODEL.META_ARCHITECTURE "
                         f"{cfg.MODEL.META_ARCHITECTURE}; VideoInstanceSegmenter needs VideoInstanceMapper, the other "
                         "models VideoDatasetMapper")
    return mapper


def build_video_test_loader(cfg, dataset_name):
    """-> loader of [one whole video], each video in exactly one process; the samples are those of LabelledVideos, or
    of WholeVideos for a set of video instance segmentation. Frames are decoded ahead by the reader's own thread.
    InputError when a file of any frame is missing."""
    _check_known([dataset_name])
    dicts, metadata = DatasetCatalog.get(dataset_name), MetadataCatalog.get(dataset_name)
    refuse_missing_frames(metadata.video_index, dataset_name)
    kind = WholeVideos if metadata.get("evaluator_type") == "ytvis" else LabelledVideos
    videos = kind(dicts, metadata.video_index, prepare=prepare(cfg))
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


def _training_dicts(cfg):
    names = list(cfg.DATASETS.TRAIN)
    _check_known(names)
    refuse_other_task(cfg, names)
    dicts = get_detection_dataset_dicts(names, filter_empty=False, check_consistency=False)
    refuse_different_classes(loaded_classes(names))
    refuse_unlabelled([name for name in names if not MetadataCatalog.get(name).get("has_labels", True)])
    dicts = without_missing(dicts, merged_index(names), allow_missing=cfg.DATALOADER.ALLOW_MISSING, names=names)
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        dicts = without_empty(dicts, keep_unlabelled=cfg.DATALOADER.KEEP_UNLABELLED_VIDEOS)
    if not dicts:
        raise InputError(f"no frame with an object in DATASETS.TRAIN ({', '.join(names)})")
    if not any(map(has_object, dicts)):
        logger.warning("no object in any frame of DATASETS.TRAIN (%s): there is nothing to learn", ", ".join(names))
    return dicts


def check_unused(cfg):
    """detectron2's options that this loader, mapper and evaluation do not have must not be asked for in vain."""
    refuse_test_augmentation(cfg)
    if cfg.INPUT.CROP.ENABLED:
        raise InputError("INPUT.CROP.ENABLED is True, but clips are cropped by INPUT.CLIP_CROP; set that instead")
    if cfg.DATALOADER.SAMPLER_TRAIN != "TrainingSampler":
        raise InputError(f"DATALOADER.SAMPLER_TRAIN is {cfg.DATALOADER.SAMPLER_TRAIN}; only TrainingSampler's order "
                         "is repeatable here; leave it at that")


def _check_known(names):
    if not names:
        raise InputError("no data set is named; set DATASETS.TRAIN and DATASETS.TEST")
    ensure_registered(names)


def _shared_seed(cfg):
    if cfg.SEED >= 0:
        return cfg.SEED
    seed = comm.shared_random_seed()
    logger.info("SEED is %d: the training order is random (seed %d this time), and a resumed run does not "
                "go on where it stopped; set SEED to change that", cfg.SEED, seed)
    return seed
