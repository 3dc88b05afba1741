"""Evaluation of video object detection: COCO AP, and ImageNet-VID-style AP50 by motion."""

import json
import logging
import math
from collections import OrderedDict
from pathlib import Path

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.logger import create_small_table
from tabulate import tabulate

from ..errors import InputError, atomic_path
from .coco_ap import coco_ap, coco_summary, percent
from .records import merge, record_video, write_detections
from .truth import load_truth
from .vid_ap import CONVENTIONS, vid_ap

logger = logging.getLogger(__name__)


class ImageNetVIDEvaluator(DatasetEvaluator):
    """Counts every labelled frame of a dataset exactly once, whatever the number of processes.

    The dataset's metadata gives thing_classes, and optionally motion_iou_file (a table that replaces the
    motion IoU computed from the tracks) and frame_groups {name: image ids}, which get AP figures of their
    own.
    """

    def __init__(self, dataset_name, *, output_folder=None, motion_convention="mega"):
        """output_folder: where the main process writes vid_detections.json and vid_metrics.json; None writes
        nothing. motion_convention: "mega" or "fgfa" (see vid_ap.py), config key TEST.MOTION_CONVENTION."""
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
        dicts = DatasetCatalog.get(self._dataset_name)
        motion_file = self._metadata.get("motion_iou_file")
        frames, truth = load_truth(dicts, num_classes=len(self._classes), motion_file=motion_file)
        detections = merge(records, frames)
        if self._output_folder:
            self._output_folder.mkdir(parents=True, exist_ok=True)
            write_detections(self._output_folder / "vid_detections.json", detections, frames)
        results = OrderedDict()
        results["bbox"] = self._coco(detections, truth, frames)
        results[f"vid_{self._convention}"] = self._vid(detections, truth)
        self._log(results, frames, detections)
        if self._output_folder:
            self._write_metrics(results, frames, detections)
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

    def _log(self, results, frames, detections):
        per_class = {f"AP-{name}": name for name in self._classes}
        main = {key: value for key, value in results["bbox"].items() if key not in per_class}
        logger.info(
            f"{self._dataset_name}: {len(set(frames.video_id))} videos, {len(frames)} labelled frames, "
            f"{len(detections)} detections"
        )
        logger.info("COCO box AP (percent):\n" + create_small_table(main))
        rows = [(name, f"{results['bbox'][key]:.3f}") for key, name in per_class.items()]
        logger.info("COCO box AP per class:\n" + tabulate(rows, headers=["class", "AP"], tablefmt="pipe"))
        logger.info(
            f"ImageNet-VID-style AP50 by motion, {self._convention.upper()} convention, not COCO's AP50:\n"
            + create_small_table(results[f"vid_{self._convention}"])
        )

    def _write_metrics(self, results, frames, detections):
        summary = {
            "dataset": self._dataset_name,
            "classes": self._classes,
            "videos": len(set(frames.video_id)),
            "frames": len(frames),
            "detections": len(detections),
            "motion_convention": self._convention,
            "motion_iou": str(self._metadata.get("motion_iou_file") or "computed from the tracks"),
            "results_percent": {
                # JSON has no NaN: an undefined figure is null.
                task: {name: None if math.isnan(value) else value for name, value in figures.items()}
                for task, figures in results.items()
            },
        }
        with atomic_path(self._output_folder / "vid_metrics.json") as part:
            part.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
