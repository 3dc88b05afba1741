"""Evaluation of single-object tracking: AO and SR as GOT-10k's toolkit counts them, and the files its server takes."""

import logging
from collections import OrderedDict
from pathlib import Path

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from ..errors import InputError
from .success_plot import write_success_plot
from .tracking_files import write_submission, write_tracks, written
from .tracking_metrics import Tracks, tracking_scores
from .tracking_report import in_percent, log_scores, warn_of_oddities, write_scores
from .tracking_results import opened, read_tracks
from .ytvis_results import refuse

METRICS, PLOT, TRACKS, SUBMISSION = "got10k_metrics.json", "got10k_success.png", "tracks", "submission.zip"

logger = logging.getLogger(__name__)


class GOT10kEvaluator(DatasetEvaluator):
    """Counts every sequence of a data set exactly once, whatever the number of processes."""

    def __init__(self, dataset_name, *, output_folder=None):
        """output_folder: where process() leaves tracks/<sequence>/ as soon as one is done, and the main process
        METRICS and PLOT, or with hidden labels SUBMISSION; None writes nothing."""
        self._dataset_name = dataset_name
        self._records = {record["video_id"]: record for record in DatasetCatalog.get(dataset_name)}
        metadata = MetadataCatalog.get(dataset_name)
        self._has_labels, self._whole_set = metadata.get("has_labels", True), metadata.get("whole_set")
        self._output_folder = Path(output_folder) if output_folder else None
        self._tracks = []

    def reset(self):
        self._tracks = []

    def process(self, inputs, outputs):
        """inputs: samples of whole sequences {"video_id"}; outputs: of each {"boxes": (T, 4) XYWH in pixels of the
        original frame, that of frame 0 as it was given; "times": (T,) seconds}."""
        for sample, output in zip(inputs, outputs, strict=True):
            tracks = self._checked(sample["video_id"], output)
            # Rounded as in the files: whoever evaluates these gets the same figures.
            self._tracks.append((sample["video_id"], written(tracks)))
            if self._output_folder:
                write_tracks(self._output_folder / TRACKS, self._records[sample["video_id"]]["name"], tracks)

    def evaluate(self):
        """-> OrderedDict {"got10k": {"AO", "SR0.5", "SR0.75": percent, "fps"}}, NaN where undefined; {} where the
        labels are hidden, and on all but the main process."""
        comm.synchronize()
        gathered = comm.gather(self._tracks, dst=0)
        if not comm.is_main_process():
            return {}
        pairs = [pair for shard in gathered for pair in shard]
        names = [video_id for video_id, _ in pairs]
        refuse([f"{video_id} was tracked {names.count(video_id)} times; expected once" for video_id in self._records
                if names.count(video_id) != 1], where=self._dataset_name)
        if not self._has_labels:
            self._say_that_labels_are_hidden()
            return {}
        return self._figures({self._records[video_id]["name"]: tracks for video_id, tracks in pairs}, "tracker")

    def evaluate_results(self, path, *, submission=None):
        """The figures of a tracker's folder, or of a zip archive of it, after a check of all its files. Where the
        labels are hidden the check is all -> {}. submission: path of the zip archive to write for the server."""
        records = list(self._records.values())
        with opened(path) as root:
            tracks = read_tracks(root, records, where=path)
        warn_of_oddities(records, tracks, where=path)
        if submission:
            self._submit(path, submission)
        if self._has_labels:
            path = Path(path).resolve()
            return self._figures(tracks, path.name if path.is_dir() else path.stem)
        logger.info(f"{path}: {len(tracks)} sequences are in order for {self._dataset_name}, whose labels are hidden: "
                    "there are no figures")
        return {}

    def _checked(self, video_id, output):
        record = self._records.get(video_id)
        if record is None:
            raise InputError(f"sequence {video_id} is not in {self._dataset_name}; evaluate with the data set that was "
                             "tracked")
        boxes, times = (np.asarray(output[name], dtype=np.float64) for name in ("boxes", "times"))
        if boxes.shape != (record["video_length"], 4) or times.shape != boxes.shape[:1]:
            raise InputError(f"sequence {video_id}: got boxes of shape {boxes.shape} and times of shape {times.shape}; "
                             f"expected a line for each of {record['video_length']} frames")
        if not np.isfinite(boxes).all():
            raise InputError(f"sequence {video_id}: the box of frame {np.argmin(np.isfinite(boxes).all(1))} is not "
                             "finite; check the weights for NaN")
        return Tracks(boxes[None], times[None])

    def _figures(self, tracks, tracker):
        whole, by_name = tracking_scores(list(self._records.values()), tracks)
        log_scores(whole, by_name, dataset=self._dataset_name, tracker=tracker)
        if self._output_folder:
            self._output_folder.mkdir(parents=True, exist_ok=True)
            about = {"dataset": self._dataset_name, "tracker": tracker, "sequences": len(by_name),
                     "repetitions": max(len(found.boxes) for found in tracks.values()), "unit": "fractions of 1"}
            write_scores(self._output_folder / METRICS, whole, by_name, about)
            write_success_plot(self._output_folder / PLOT, {tracker: whole}, dataset=self._dataset_name)
        return OrderedDict(got10k=in_percent(whole))

    def _submit(self, results, path):
        if self._has_labels:
            raise InputError(f"a submission is for the test server, but the labels of {self._dataset_name} are here; "
                             "leave the archive away, or name got10k_test")
        if self._whole_set and len(self._records) != self._whole_set:
            raise InputError(f"{self._dataset_name} has {len(self._records)} sequences here, but the server expects "
                             f"{self._whole_set}; complete the data set and its list.txt first")
        count = write_submission(path, results, list(self._records.values()))
        logger.info(f"{path}: {count} files of {len(self._records)} sequences, ready for the test server")

    def _say_that_labels_are_hidden(self):
        todo = "Evaluate with an output folder to get a submission."
        if self._output_folder:
            self._submit(self._output_folder / TRACKS, self._output_folder / SUBMISSION)
            todo = f"Upload {self._output_folder / SUBMISSION} to the evaluation server of the data set."
        logger.warning(f"NO FIGURES: the labels of {self._dataset_name} are hidden. {todo} got10k_val has labels.")
