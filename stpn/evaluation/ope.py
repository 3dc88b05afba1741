"""Evaluation of single-object tracking in one pass, as on LaSOT, OTB and TrackingNet: success and precision."""

import logging

import numpy as np

from .flat_results import read_flat_or_folders, write_flat_submission
from .ope_metrics import ope_scores
from .track_evaluator import TrackEvaluator

logger = logging.getLogger(__name__)


class OPEEvaluator(TrackEvaluator):
    """{"ope": {"AUC": of the success curve, "P20": precision at 20 pixels, "NP_AUC": of the normalised precision,
    "NP0.2": its value at 0.2: percent, "fps"}}, means over sequences. Where the labels are hidden (TrackingNet): the
    submission, a zip archive of a file <sequence>.txt each."""

    task, metrics, plot = "ope", "ope_metrics.json", "ope_success.png"
    rule = "one pass, means over sequences (percent; fps: mean of the frames' rates, model only)"
    served, alternative = "trackingnet_test", "lasot_test and otb100 have labels."

    def _read(self, root, where):
        return read_flat_or_folders(root, list(self._records.values()), where=where)

    def _opened(self, path):
        tracks = super()._opened(path)
        shifts = [tracks[record["name"]].boxes[0, 0] - record["boxes"][0] for record in self._records.values()]
        if np.allclose(shifts, [1, 1, 0, 0], atol=0.01):
            logger.warning(f"{path}: every first box lies one pixel right of and below the given one: is it counted "
                           "from 1, as OTB's own files are? Expected from 0; subtract 1 from x and y")
        return tracks

    def _scored(self, tracks):
        return *ope_scores(list(self._records.values()), tracks), {}

    def _pack(self, path, results):
        return write_flat_submission(path, results, list(self._records.values()))
