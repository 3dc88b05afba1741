"""Detections and ground truth of a whole dataset as flat arrays, and the order in which they meet.

Letters: F frames, N detections, M ground-truth boxes. Boxes are XYXY in pixels of the original image, with
the inclusive corners that ImageNet VID stores; whether a width is x2 - x1 (COCO) or x2 - x1 + 1 (VID) is the
metric's business. Frames are numbered 0..F-1 in ascending image_id, which is the order both metrics pool in.
"""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Detections:
    """frame, label: (N,) int; box: (N, 4); score: (N,). Rows in any order."""

    frame: np.ndarray
    label: np.ndarray
    box: np.ndarray
    score: np.ndarray

    def __len__(self):
        return len(self.frame)

    def take(self, rows):
        """rows: (n,) indices or a mask -> Detections of those rows."""
        return Detections(self.frame[rows], self.label[rows], self.box[rows], self.score[rows])

    def order(self):
        """-> (N,) rows by frame, class, falling score and box: an order that depends on the values alone."""
        return np.lexsort((*self.box.T, -self.score, self.label, self.frame))

    def best_first(self):
        """Rows by ascending frame, inside a frame by falling score; equal scores keep their order."""
        return self.take(np.lexsort((-self.score, self.frame)))


@dataclass(frozen=True)
class GroundTruth:
    """frame, label: (M,) int; box: (M, 4); motion: (M,) motion IoU in 0..1 or None; num_frames: F."""

    frame: np.ndarray
    label: np.ndarray
    box: np.ndarray
    num_frames: int
    motion: np.ndarray | None = None

    def __len__(self):
        return len(self.frame)

    def take(self, rows):
        """rows: (m,) indices or a mask -> GroundTruth of those rows; the frames stay."""
        motion = None if self.motion is None else self.motion[rows]
        return replace(
            self, frame=self.frame[rows], label=self.label[rows], box=self.box[rows], motion=motion
        )

    def by_frame(self):
        """Rows by ascending frame; inside a frame they keep their order."""
        return self.take(np.argsort(self.frame, kind="stable"))


def cells(det_frame, gt_frame):
    """Frames that hold both detections and ground truth, gathered into rectangular arrays.

    det_frame: (N,) ascending, best detection of a frame first. gt_frame: (M,) ascending.
    Yields (gt_rows, rounds) per number m of ground-truth boxes in a frame: gt_rows is (G, m), one row a
    frame; round r is (k, det_rows): the r-th best detections, (k,), of the first k frames of gt_rows. Greedy
    matching goes through a frame's detections one after the other; going through all frames side by side
    makes it a few thousand array operations for a dataset instead of millions of Python steps.
    """
    frames, gt_first, gt_count = np.unique(gt_frame, return_index=True, return_counts=True)
    det_first = np.searchsorted(det_frame, frames, side="left")
    det_count = np.searchsorted(det_frame, frames, side="right") - det_first
    for m in np.unique(gt_count[det_count > 0]):
        pick = np.flatnonzero((gt_count == m) & (det_count > 0))
        # Frames with many detections come first, so that every round takes a plain slice of them.
        pick = pick[np.argsort(-det_count[pick], kind="stable")]
        yield gt_first[pick, None] + np.arange(m), _rounds(det_first[pick], det_count[pick])


def _rounds(first, count):
    """first, count: (G,) rows of each frame, count falling -> (k, det_rows (k,)) per rank."""
    alive = len(count)
    for rank in range(count[0]):
        alive = np.searchsorted(-count[:alive], -rank, side="left")  # frames with more than `rank` detections
        yield alive, first[:alive] + rank
