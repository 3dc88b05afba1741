"""Evaluation of video instance segmentation: YouTube-VIS AP, and the file that evaluation servers take."""

import logging
from collections import OrderedDict
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from ..errors import InputError
from .report import log_tube_figures, write_metrics
from .ytvis_ap import STATS, restrict, ytvis_ap
from .ytvis_record import record_tracks, video_problems
from .ytvis_results import RESULTS, SUBMISSION, read_results, refuse, write_results, write_submission
from .ytvis_truth import load_ytvis_truth

# Those whose hidden labels an evaluation server has; the owner of any other set has them, or nobody.
SERVED = [f"{name}_{part}" for name in ("ytvis_2019", "ytvis_2021", "ovis") for part in ("val", "test")]

logger = logging.getLogger(__name__)


class YouTubeVISEvaluator(DatasetEvaluator):
    """Counts every video of a data set exactly once, whatever the number of processes. It keeps masks as RLE only.

    The data set's metadata give json_file, thing_classes, thing_dataset_id_to_contiguous_id, and optionally has_labels
    (False: the file's annotations are not to be used) and frame_groups {name: {id in the JSON: frame indices}}, which
    get AP figures of their own.
    """

    def __init__(self, dataset_name, *, output_folder=None):
        """output_folder: where the main process writes results.json, results.zip and, with labels, vis_metrics.json;
        None writes nothing."""
        self._dataset_name = dataset_name
        self._metadata = metadata = MetadataCatalog.get(dataset_name)
        if metadata.get("thing_classes") is None:
            DatasetCatalog.get(dataset_name)  # metadata are complete after the first load
        self._numbers = dict(metadata.thing_dataset_id_to_contiguous_id)
        self._classes = list(metadata.thing_classes)
        self._groups = dict(metadata.get("frame_groups") or {})
        both = sorted(set(self._groups) & set(self._classes))
        if both:
            raise InputError(f"{dataset_name}: {both} name classes and frame groups; rename the groups")
        self._output_folder = Path(output_folder) if output_folder else None
        self._records = []

    def reset(self):
        self._records = []

    def process(self, inputs, outputs):
        """inputs: samples of whole videos {"video_id", "json_id", "length", "height", "width"}; outputs: per video
        {"image_size", "pred_scores", "pred_labels", "pred_ids", "pred_masks": per track an RLE or None per frame}."""
        category_ids = sorted(self._numbers, key=self._numbers.get)
        for sample, output in zip(inputs, outputs, strict=True):
            self._records.append(
                record_tracks(sample, output, index=len(self._records), category_ids=category_ids))

    def evaluate(self):
        """-> OrderedDict {"segm": {...}} in percent, NaN where undefined; {} where the labels are hidden, and on all
        but the main process."""
        comm.synchronize()
        gathered = comm.gather(self._records, dst=0)
        if not comm.is_main_process():
            return {}
        records, truth = [record for shard in gathered for record in shard], self.load_truth()
        refuse(video_problems(records, truth), where=self._dataset_name)
        results = [result for record in sorted(records, key=lambda r: r.json_id) for result in record.results]
        empty = sum(not record.results for record in records)
        if empty:
            logger.warning(f"{self._dataset_name}: nothing was found in {empty} of {len(records)} videos")
        self._write(results)
        if truth.tracks is None:
            self._say_that_labels_are_hidden(results)
            return {}
        return self._figures(results, truth)

    def evaluate_file(self, path, *, allow_empty_videos=False):
        """The figures of a saved results.json or results.zip, equal bit by bit to those of the run that wrote it.
        allow_empty_videos: be silent about videos without a record. Where the labels are hidden the file is checked as
        a submission instead, in which each other video must have a record -> {}."""
        truth = self.load_truth()
        hidden = truth.tracks is None
        results = read_results(path, truth, all_videos=hidden and not allow_empty_videos)
        empty = len(truth.videos.keys() - {result["video_id"] for result in results})
        if empty and not allow_empty_videos:
            logger.warning(f"{path}: {empty} of {len(truth.videos)} videos have no record; check that the file is "
                           "whole and of this data set")
        if hidden:
            logger.info(f"{path}: {len(results)} records in order for {self._dataset_name}, whose labels are hidden: "
                        "there are no figures")
            return {}
        return self._figures(results, truth)

    def load_truth(self):
        """-> YtvisTruth of the data set's JSON; tracks None where its labels are hidden."""
        truth = load_ytvis_truth(self._metadata.json_file)
        if truth.categories.keys() != self._numbers.keys():
            raise InputError(f"{self._metadata.json_file} has categories {sorted(truth.categories)}, the data set "
                             f"{self._dataset_name} {sorted(self._numbers)}; expected the same: register it anew")
        return truth if self._metadata.get("has_labels", True) else truth.without_labels()

    def _write(self, results):
        if not self._output_folder:
            return
        self._output_folder.mkdir(parents=True, exist_ok=True)
        write_results(self._output_folder / RESULTS, results)
        (self._output_folder / SUBMISSION).unlink(missing_ok=True)  # that of an earlier run
        if results:  # the servers' program ends with an error on an empty list
            write_submission(self._output_folder / SUBMISSION, self._output_folder / RESULTS)

    def _say_that_labels_are_hidden(self, results):
        if self._dataset_name not in SERVED:
            logger.warning(f"NO FIGURES: {self._metadata.json_file} has no labels. For figures add annotations to it "
                           f"(datasets/README.md){self._where_results_are(results)}.")
            return
        if not results:
            todo = "Nothing was found in any video: there is nothing to submit."
        elif self._output_folder:
            todo = f"For its AP upload {self._output_folder / SUBMISSION} to the evaluation server of the data set."
        else:
            todo = f"For its AP evaluate with an output folder and upload the {SUBMISSION} in it."
        logger.warning(
            f"NO FIGURES: the labels of {self._dataset_name} are hidden. {todo} For an AP here, hold out a part of the "
            "training set: datasets/prepare_ytvis_split.py makes the sets *_train_sub and *_val_sub."
        )

    def _where_results_are(self, results):
        found = f"; what was found is in {self._output_folder / RESULTS}" if self._output_folder else ""
        return found if results else "; nothing was found in any video"

    def _figures(self, results, truth):
        figures = OrderedDict(segm=self._ap(results, truth))
        counts = {"videos": len(truth.videos), "frames": sum(video.length for video in truth.videos.values()),
                  "predictions": len(results)}
        log_tube_figures(figures, dataset=self._dataset_name, classes=self._classes, **counts)
        if self._output_folder:
            self._output_folder.mkdir(parents=True, exist_ok=True)
            about = {"dataset": self._dataset_name, "classes": self._classes, **counts}
            write_metrics(self._output_folder / "vis_metrics.json", figures, about)
        return figures

    def _ap(self, results, truth):
        whole = self._part(results, truth)
        figures = dict(zip(STATS, map(_percent, whole.stats)))
        for group, frames in self._groups.items():
            part = self._part(results, truth, {int(key): set(chosen) for key, chosen in frames.items()})
            figures |= {f"AP-{group}": _percent(part.stats[0]), f"AP50-{group}": _percent(part.stats[1])}
        for category_id, number in sorted(self._numbers.items(), key=lambda item: item[1]):
            figures[f"AP-{self._classes[number]}"] = _percent(whole.of_category(category_id))
        return figures

    def _part(self, results, truth, frames=None):
        """frames: {video id: set of frame indices} to look at; None: all."""
        tracks = truth.tracks
        if frames is not None:
            tracks, results = restrict(tracks, frames), restrict(results, frames)
        return ytvis_ap(tracks, results, video_ids=truth.videos, category_ids=truth.categories)


def _percent(value):
    """COCO's -1, no ground truth, is NaN here."""
    return float("nan") if value == -1 else float(value) * 100
