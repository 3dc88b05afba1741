"""Evaluation of video object detection: COCO AP, and ImageNet-VID-style AP50 by motion."""

import logging
from collections import OrderedDict
from pathlib import Path

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from ..errors import InputError
from .coco_ap import coco_ap, coco_summary, percent
from .records import merge, record_video
from .report import log_figures, warn_of_oddities, write_metrics
from .results_file import class_numbers, doubt_about_ids, read_detections, write_detections
from .truth import load_truth
from .vid_ap import CONVENTIONS, vid_ap

logger = logging.getLogger(__name__)


class ImageNetVIDEvaluator(DatasetEvaluator):
    """Counts every labelled frame of a dataset exactly once, whatever the number of processes.

    The dataset's metadata gives thing_classes, and optionally motion_iou_file (a table that replaces the
    motion IoU computed from the tracks) and frame_groups {name: image ids}, which get AP figures of their
    own.
    """

    def __init__(self, dataset_name, *, output_folder=None, motion_convention="mega", motion_table=None):
        """output_folder: where the main process writes vid_detections.json and vid_metrics.json; None writes
        nothing. motion_convention: "mega" or "fgfa" (see vid_ap.py), config key TEST.MOTION_CONVENTION.
        motion_table: a file instead of the metadata's motion_iou_file; "none": motion IoU from the tracks."""
        if motion_convention not in CONVENTIONS:
            raise InputError(
                f"TEST.MOTION_CONVENTION is {motion_convention!r}; "
                f"expected one of {', '.join(sorted(CONVENTIONS))}"
            )
        self._dataset_name = dataset_name
        self._metadata = MetadataCatalog.get(dataset_name)
        if self._metadata.get("thing_classes") is None:
            DatasetCatalog.get(dataset_name)  # metadata are complete after the first load
        self._classes = list(self._metadata.thing_classes)
        self._output_folder = Path(output_folder) if output_folder else None
        self._convention = motion_convention
        self._motion_table = motion_table
        self._records = []

    def reset(self):
        self._records = []

    def process(self, inputs, outputs):
        """inputs: video samples {"video_id", "image_ids"}; outputs: per video a list of Instances per frame,
        in original pixels."""
        for sample, predictions in zip(inputs, outputs, strict=True):
            index = len(self._records)
            self._records.append(
                record_video(sample, predictions, index=index, num_classes=len(self._classes))
            )

    def evaluate(self):
        """-> OrderedDict {"bbox": {...}, "vid_mega" or "vid_fgfa": {...}} in percent, NaN where undefined; {}
        on all but the main process."""
        comm.synchronize()
        gathered = comm.gather(self._records, dst=0)
        if not comm.is_main_process():
            return {}
        records = [record for shard in gathered for record in shard]
        frames, truth = self._truth()
        detections = merge(records, frames)
        if self._output_folder:
            self._output_folder.mkdir(parents=True, exist_ok=True)
            write_detections(self._output_folder / "vid_detections.json", detections, frames)
        return self._figures(detections, frames, truth)

    def evaluate_file(self, path, *, category_ids=None):
        """The figures of saved results (results_file.py), equal bit by bit to those of the run that wrote them.
        category_ids: what the ids in the file mean, see class_numbers; None: contiguous, for files of ours alone."""
        frames, truth = self._truth()
        count = len(self._classes)
        classes = class_numbers(category_ids or "contiguous", self._metadata, num_classes=count)
        doubt = "" if category_ids else doubt_about_ids(self._metadata)
        detections = read_detections(path, frames, classes=classes, doubt=doubt)
        logger.info(f"{path}: category ids taken as {category_ids or 'contiguous'} ({min(classes)}..{max(classes)})")
        warn_of_oddities(path, detections, frames)
        if self._output_folder:
            self._output_folder.mkdir(parents=True, exist_ok=True)
        return self._figures(detections, frames, truth)

    @property
    def _motion_file(self):
        table = self._metadata.get("motion_iou_file") if self._motion_table is None else self._motion_table
        return None if table == "none" else table

    def _truth(self):
        dicts = DatasetCatalog.get(self._dataset_name)
        return load_truth(dicts, num_classes=len(self._classes), motion_file=self._motion_file)

    def _figures(self, detections, frames, truth):
        results = OrderedDict()
        results["bbox"] = self._coco(detections, truth, frames)
        results[f"vid_{self._convention}"] = self._vid(detections, truth)
        counts = {"videos": len(set(frames.video_id)), "frames": len(frames), "detections": len(detections)}
        log_figures(results, dataset=self._dataset_name, classes=self._classes, convention=self._convention, **counts)
        if self._output_folder:
            write_metrics(self._output_folder / "vid_metrics.json", results, {
                "dataset": self._dataset_name, "classes": self._classes, **counts,
                "motion_convention": self._convention,
                "motion_iou": str(self._motion_file or "computed from the tracks"),
            })  # fmt: skip
        return results

    def _coco(self, detections, truth, frames):
        ap = coco_ap(detections, truth, num_classes=len(self._classes))
        result = coco_summary(ap)
        for group, image_ids in self._groups().items():
            rows = np.flatnonzero(np.isin(frames.image_id, list(image_ids)))
            inside = [table.take(np.isin(table.frame, rows)) for table in (detections, truth)]
            part = coco_summary(coco_ap(*inside, num_classes=len(self._classes)))
            result |= {f"AP-{group}": part["AP"], f"AP50-{group}": part["AP50"]}
        return result | {f"AP-{name}": percent(ap[0, :, c]) for c, name in enumerate(self._classes)}

    def _groups(self):
        groups = dict(self._metadata.get("frame_groups") or {})
        both = sorted(set(groups) & set(self._classes))
        if both:
            raise InputError(f"{self._dataset_name}: {both} name classes and frame groups; rename the groups")
        return groups

    def _vid(self, detections, truth):
        ap = vid_ap(detections, truth, num_classes=len(self._classes), convention=self._convention)
        return {"AP50" if name == "all" else f"AP50-{name}": percent(values) for name, values in ap.items()}
