"""Which dataset dicts show an object: a dict is a labelled frame, or a whole video of instance segmentation. (Those of
tracking are whole videos, too: tracking_training.py.)"""

import itertools
import logging

logger = logging.getLogger(__name__)


def is_whole_video(sample):
    """Whether a dataset dict stands for a video (load_ytvis, load_got10k), not for one labelled frame."""
    return "json_id" in sample or "boxes" in sample


def annotations_of(sample):
    """-> list of the annotations of a dataset dict, those of all frames for a whole video."""
    return list(itertools.chain.from_iterable(sample["annotations"])) if is_whole_video(sample) else (
        sample["annotations"])


def has_object(sample):
    """Whether a dataset dict has an object; crowd regions are none."""
    return any(not annotation.get("iscrowd", 0) for annotation in annotations_of(sample))


def without_empty(dicts, *, keep_unlabelled=False):
    """-> the dataset dicts that have an object (crowd regions are none); with keep_unlabelled also all frames of
    the videos of which no labelled frame has one. What is left out is logged."""
    labelled = [has_object(sample) for sample in dicts]
    videos = [sample.get("video_id", sample["file_name"]) for sample in dicts]
    empty = set(videos) - {video for video, has in zip(videos, labelled, strict=True) if has}
    kept = [sample for sample, video, has in zip(dicts, videos, labelled, strict=True)
            if has or (keep_unlabelled and video in empty)]
    kind = "videos" if dicts and is_whole_video(dicts[0]) else "frames"
    logger.info("left out %d of %d training %s without objects; %s %d of %d videos without any object",
                len(dicts) - len(kept), len(dicts), kind, "kept" if keep_unlabelled else "left out", len(empty),
                len(set(videos)))
    return kept
