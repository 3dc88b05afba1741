"""What the evaluators of single-object tracking share: sequences come in one by one, are written at once, and are
counted when all are there. A metric is a subclass of some lines (vot.py, ope.py)."""

import logging
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from ..errors import InputError, PartialResult
from . import progress
from .success_plot import write_success_plot
from .tracker_names import tracker_name, tracker_names
from .tracking_files import write_confidences, write_tracks, written
from .tracking_metrics import Tracks
from .tracking_report import (
    best_first,
    frame_rates,
    log_comparison,
    log_rates,
    log_scores,
    warn_of_oddities,
    without_nan,
    write_scores,
)
from .tracking_results import opened
from .ytvis_results import refuse

SUBMISSION = "submission.zip"

logger = logging.getLogger(__name__)


class TrackEvaluator(DatasetEvaluator):
    """Counts every sequence of a data set exactly once, whatever the number of processes.

    A subclass says: task, the name of its figures; metrics and plot, the files it writes; rule, how it counts, in
    words; _read, _scored, _pack.
    """

    def __init__(self, dataset_name, *, output_folder=None):
        """output_folder: where process() leaves tracks/<sequence>/ and scores/<sequence>.txt as soon as one is done,
        and the main process the figures and their plot, or with hidden labels SUBMISSION; None writes nothing."""
        self._dataset_name = dataset_name
        self._records = {record["video_id"]: record for record in DatasetCatalog.get(dataset_name)}
        metadata = MetadataCatalog.get(dataset_name)
        self._has_labels, self._whole_set = metadata.get("has_labels", True), metadata.get("whole_set")
        self._groups = dict(metadata.get("frame_groups") or {})
        self._pictures = metadata.get("image_root")
        self._output_folder = Path(output_folder) if output_folder else None
        self._taken_up = []
        self.reset()

    @property
    def lacking(self):
        """Why the server would not take results on this data set, in words; None if it would, or is not asked."""
        if self._has_labels or not self._whole_set or len(self._records) == self._whole_set:
            return None
        found = len(self._records)
        return (f"{self._dataset_name} has {found} sequence{'s' * (found != 1)} here, but the server expects "
                f"{self._whole_set}")

    def resume(self, fingerprint):
        """Take up what an interrupted evaluation left in the output folder. fingerprint: {what: digest} of the model,
        its configuration and the program; the data set's is added. To be called by all processes, before the sequences
        come. -> set of the video ids that must not come again."""
        tracks = {}
        if self.lacking and comm.is_main_process():
            logger.warning(f"{self.lacking}: there will be no submission; what is here is tracked, and its tracks are "
                           "kept for when the rest is there")
        if self._output_folder and comm.is_main_process():
            whole = {**fingerprint, "folder of the pictures": self._pictures}
            tracks = progress.take_up(self._output_folder, list(self._records.values()), whole,
                                      dataset=self._dataset_name, products=(self.metrics, self.plot, SUBMISSION))
        self._taken_up = [(video_id, tracks[record["name"]]) for video_id, record in self._records.items()
                          if record["name"] in tracks]
        return frozenset(comm.all_gather([video_id for video_id, _ in self._taken_up])[0])  # the main process's

    def reset(self):
        self._tracks, self._taken_up = self._taken_up, []
        self._measured, self._since = [], time.perf_counter()

    def process(self, inputs, outputs):
        """inputs: samples of whole sequences {"video_id"}; outputs: of each {"boxes": (T, 4) XYWH in pixels of the
        original frame, that of frame 0 as it was given; "times": (T,) seconds; "scores": (T,) in 0..1 or NaN}."""
        seconds = time.perf_counter() - self._since  # since the sequences before: reading and tracking these
        for sample, output in zip(inputs, outputs, strict=True):
            tracks, scores = self._checked(sample["video_id"], output)
            # Rounded as in the files: whoever evaluates these gets the same figures.
            self._tracks.append((sample["video_id"], written(tracks)))
            if self._output_folder:  # tracks last: where they are whole, all is
                name = self._records[sample["video_id"]]["name"]
                write_confidences(self._output_folder / progress.CONFIDENCES, name, scores)
                write_tracks(self._output_folder / progress.TRACKS, name, tracks)
        self._measured.append((sum(len(output["boxes"]) for output in outputs), seconds))
        self._since = time.perf_counter()

    def evaluate(self):
        """-> OrderedDict {task: figures}, NaN where undefined; {} where the labels are hidden, and on all but the main
        process. PartialResult where they are hidden and the server would not take a part of the set: the tracks stay,
        and a later evaluation takes them up."""
        comm.synchronize()
        gathered = comm.gather((self._tracks, self._measured), dst=0)
        if not comm.is_main_process():
            return {}
        pairs = [pair for tracks, _ in gathered for pair in tracks]
        ids = [video_id for video_id, _ in pairs]
        refuse([f"{video_id} was tracked {ids.count(video_id)} times; expected once" for video_id in self._records
                if ids.count(video_id) != 1], where=self._dataset_name)
        found = dict(pairs)
        tracks = {record["name"]: found[video_id] for video_id, record in self._records.items()}
        measured = [pair for _, pairs in gathered for pair in pairs]
        if self._has_labels:
            figures = self._figures({"tracker": tracks}, measured)
        else:
            figures = self._submission(tracks, measured)
        if self._output_folder:
            progress.complete(self._output_folder)
        return figures

    def evaluate_results(self, path, *, submission=None):
        """The figures of a tracker's results (a folder, or a zip archive of it) after a check of all its files. Where
        the labels are hidden the check is all -> {}. submission: path of the zip archive to write for the server."""
        tracks = self._opened(path)
        if submission:
            self._submit(path, submission)
        if self._has_labels:
            return self._figures({tracker_name(path): tracks})
        logger.info(f"{path}: {len(tracks)} sequences are in order for {self._dataset_name}, whose labels are hidden: "
                    "there are no figures")
        return {}

    def compare_results(self, paths):
        """The figures of several trackers, in one table and one plot -> OrderedDict {tracker: figures}, best first."""
        if not self._has_labels:
            raise InputError(f"the labels of {self._dataset_name} are hidden: there are no figures to compare; name "
                             "one tracker to have its results checked")
        return self._figures({tracker: self._opened(path) for tracker, path in tracker_names(paths).items()})

    def _opened(self, path):
        records = list(self._records.values())
        with opened(path) as root:
            tracks = self._read(root, path)
        warn_of_oddities(records, tracks, where=path)
        return tracks

    def _checked(self, video_id, output):
        record = self._records.get(video_id)
        if record is None:
            raise InputError(f"sequence {video_id} is not in {self._dataset_name}; evaluate with the data set that was "
                             "tracked")
        boxes, times, scores = (np.asarray(output[name], dtype=np.float64) for name in ("boxes", "times", "scores"))
        if boxes.shape != (record["video_length"], 4) or not times.shape == scores.shape == boxes.shape[:1]:
            raise InputError(f"sequence {video_id}: got boxes of shape {boxes.shape}, times of shape {times.shape} and "
                             f"scores of shape {scores.shape}; expected a line for each of {record['video_length']} "
                             "frames")
        if not np.isfinite(boxes).all():
            raise InputError(f"sequence {video_id}: the box of frame {np.argmin(np.isfinite(boxes).all(1))} is not "
                             "finite; check the weights for NaN")
        return Tracks(boxes[None], times[None]), scores

    def _figures(self, found, measured=()):
        """found: {tracker: {sequence name: Tracks}}; measured: of frame_rates -> OrderedDict {task: figures}, for
        several trackers {tracker: figures}."""
        self._warn()
        scored = {tracker: self._scored(tracks) for tracker, tracks in found.items()}
        wholes = {tracker: whole for tracker, (whole, _, _) in scored.items()}
        figures = OrderedDict((tracker, _in_percent(*scored[tracker])) for tracker, _ in best_first(wholes))
        ((tracker, tracks), *others) = found.items()
        about = {"dataset": self._dataset_name, "sequences": len(self._records), "unit": "fractions of 1"}
        if others:
            log_comparison(figures, dataset=self._dataset_name, rule=self.rule)
        else:
            log_scores(*scored[tracker], dataset=self._dataset_name, tracker=tracker, rule=self.rule)
            about |= {"tracker": tracker, "repetitions": max(len(one.boxes) for one in tracks.values()),
                      "frames_per_second": without_nan(self._rates(tracks, measured))}
        if self._output_folder:
            self._output_folder.mkdir(parents=True, exist_ok=True)
            write_scores(self._output_folder / self.metrics, scored, about)
            write_success_plot(self._output_folder / self.plot, wholes, dataset=self._dataset_name)
        return figures if others else OrderedDict({self.task: figures[tracker]})

    def _warn(self):
        """Of what is odd in the labels."""

    def _rates(self, tracks, measured):
        rates = frame_rates([one.times for one in tracks.values()], measured)
        log_rates(rates, frames=sum(frames for frames, _ in measured), dataset=self._dataset_name)
        return rates

    def _submission(self, tracks, measured):
        """What comes in place of figures where the labels are hidden -> {}."""
        self._rates(tracks, measured)
        if self.lacking:
            where = f"; tracks of these are in {self._output_folder / progress.TRACKS}" if self._output_folder else ""
            raise PartialResult(f"no submission: {self.lacking}{where}; complete the data set and its list.txt, and "
                                "give the same command again: what is done is not tracked again")
        todo = "Evaluate with an output folder to get a submission."
        if self._output_folder:
            self._submit(self._output_folder / progress.TRACKS, self._output_folder / SUBMISSION)
            todo = f"Upload {self._output_folder / SUBMISSION} to the evaluation server of the data set."
        logger.warning(f"NO FIGURES: the labels of {self._dataset_name} are hidden. {todo} {self.alternative}")
        return {}

    def _submit(self, results, path):
        if self._has_labels:
            raise InputError(f"a submission is for the test server, but the labels of {self._dataset_name} are here; "
                             f"leave the archive away, or name {self.served}")
        if self.lacking:
            raise InputError(f"{self.lacking}; complete the data set and its list.txt first")
        count = self._pack(path, results)
        logger.info(f"{path}: {count} files of {len(self._records)} sequences, ready for the test server")


def _in_percent(whole, by_name, by_group):
    """-> the figures of all frames, and those of each group as "AO-<group>"."""
    groups = {f"{name}-{group}": value for group, score in by_group.items() for name, value in score.accuracy().items()}
    return {**whole.percent(), **groups}
