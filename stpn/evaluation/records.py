"""Predictions on their way from the model to the metric: one compact record per video, checked and merged."""

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .tables import Detections


@dataclass(frozen=True)
class VideoRecord:
    """Predictions of one video's labelled frames: image_id, frame_index, count: (F,); the sum of count is n:
    label (n,) int64, box (n, 4) float32 XYXY in original pixels, score (n,) float32."""

    video_id: str
    image_id: np.ndarray
    frame_index: np.ndarray
    count: np.ndarray
    label: np.ndarray
    box: np.ndarray
    score: np.ndarray


_NOTHING = VideoRecord(
    "", *np.zeros((4, 0), np.int64), box=np.zeros((0, 4), np.float32), score=np.zeros(0, np.float32)
)


def record_video(sample, predictions, *, index, num_classes):
    """sample: {"video_id", "image_ids": per frame an int or None (unlabelled)}; predictions: Instances per
    frame, in original pixels; index: the record's number, for messages.
    -> VideoRecord. Refuses at once what can be seen in one video: a wrong number of frames, values that are
    not finite, unknown classes."""
    video_id, image_ids, predictions = sample["video_id"], sample["image_ids"], list(predictions)
    if len(predictions) != len(image_ids):
        raise InputError(
            f"record {index}: video {video_id}: got predictions for {len(predictions)} frames, expected "
            f"{len(image_ids)}; the model must return one Instances per frame"
        )
    labelled = [i for i, image_id in enumerate(image_ids) if image_id is not None]
    kept = [predictions[i] for i in labelled]
    record = VideoRecord(
        video_id=video_id,
        image_id=np.array([image_ids[i] for i in labelled], dtype=np.int64),
        frame_index=np.array(labelled, dtype=np.int64),
        count=np.array([len(p) for p in kept], dtype=np.int64),
        label=_join([p.pred_classes for p in kept], np.int64),
        box=_join([p.pred_boxes.tensor for p in kept], np.float32).reshape(-1, 4),
        score=_join([p.scores for p in kept], np.float32),
    )
    _check_values(record, index, num_classes)
    return record


def _join(tensors, dtype):
    return np.concatenate(
        [np.zeros(0, dtype), *(t.detach().cpu().numpy().astype(dtype).ravel() for t in tensors)]
    )


def _check_values(record, index, num_classes):
    finite = np.isfinite(record.score) & np.isfinite(record.box).all(axis=1)
    wrong = np.flatnonzero(~finite | (record.label < 0) | (record.label >= num_classes))
    if wrong.size:
        n = wrong[0]
        frame = np.searchsorted(np.cumsum(record.count), n, side="right")
        raise InputError(
            f"record {index}: video {record.video_id} frame {record.frame_index[frame]} "
            f"(image id {record.image_id[frame]}): detection {n - record.count[:frame].sum()} has "
            f"score {record.score[n]}, box {record.box[n].tolist()}, class {record.label[n]}; "
            f"expected finite numbers and a class in 0..{num_classes - 1}: "
            "check the weights for NaN and the number of classes"
        )


def merge(records, frames):
    """records: VideoRecords of all processes, in any order; frames: LabelledFrames, each of which must have
    been predicted exactly once. -> Detections in an order that does not depend on that of the records."""
    owner = np.repeat(np.arange(len(records)), [len(r.image_id) for r in records])
    image_id, index, count, label, box, score = (
        _joined(records, name) for name in ("image_id", "frame_index", "count", "label", "box", "score")
    )
    row = _known_rows(records, frames, owner, image_id, index)
    _check_once(records, frames, owner, row)
    detections = Detections(frame=np.repeat(row, count), label=label, box=box, score=score)
    return detections.take(detections.order())


def _joined(records, name):
    """One field of all records; the empty array of the same kind when there are none."""
    return np.concatenate([getattr(record, name) for record in [_NOTHING, *records]])


def _known_rows(records, frames, owner, image_id, index):
    """-> (n,) row in frames of each predicted frame."""
    row = np.searchsorted(frames.image_id, image_id).clip(max=max(0, len(frames) - 1))
    for n in range(len(image_id)):
        video_id = records[owner[n]].video_id
        known = len(frames) and frames.image_id[row[n]] == image_id[n]
        if not known or (frames.video_id[row[n]], frames.frame_index[row[n]]) != (video_id, index[n]):
            expected = (
                f"that image id is {frames.name(row[n])}" if known else "the dataset has no such image id"
            )
            raise InputError(
                f"record {owner[n]}: video {video_id} frame {index[n]} (image id {image_id[n]}) is unknown: "
                f"{expected}; evaluate with the dataset that the predictions were made for"
            )
    return row


def _check_once(records, frames, owner, row):
    times = np.bincount(row, minlength=len(frames))
    again = np.flatnonzero(times > 1)
    if again.size:
        first, second = owner[row == again[0]][:2]
        raise InputError(
            f"record {second}: {frames.name(again[0])} was predicted already by record {first}; each "
            "labelled frame must be predicted exactly once: the loader must give each video to one process"
        )
    missing = np.flatnonzero(times == 0)
    if missing.size:
        raise InputError(
            f"{missing.size} of {len(frames)} labelled frames have no prediction after {len(records)} "
            f"records, first {frames.name(missing[0])}; predict every frame, an empty result included"
        )
