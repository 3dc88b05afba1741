"""Evaluation of single-object tracking: AO and SR as GOT-10k's toolkit counts them, and the files its server takes."""

import logging

from .track_evaluator import TrackEvaluator
from .tracking_files import write_submission
from .tracking_metrics import group_scores, tracking_scores
from .tracking_results import read_tracks

logger = logging.getLogger(__name__)


class GOT10kEvaluator(TrackEvaluator):
    """{"got10k": {"AO", "SR0.5", "SR0.75": percent, "fps"}}, and "AO-<group>", ... for each group of frames that the
    data set has (metadata.frame_groups: {group: {sequence name: frame indices}})."""

    task, metrics, plot = "got10k", "got10k_metrics.json", "got10k_success.png"
    rule = "as the GOT-10k toolkit counts (AO, SR in percent; fps: mean of the frames' rates, model only)"
    served, alternative = "got10k_test", "got10k_val has labels."

    def _read(self, root, where):
        return read_tracks(root, list(self._records.values()), where=where)

    def _warn(self):
        unseen = [record["name"] for record in self._records.values() if record["cover"] is None]
        if unseen:
            logger.warning(f"{len(unseen)} sequences such as {unseen[0]} have no cover.label: all their frames count "
                           "but those that absence.label takes out")

    def _scored(self, tracks):
        records = list(self._records.values())
        return *tracking_scores(records, tracks), group_scores(records, tracks, self._groups)

    def _pack(self, path, results):
        return write_submission(path, results, list(self._records.values()))
