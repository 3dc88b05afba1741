"""YouTube-VIS AP: COCO's AP with tubes (a mask per frame) in place of masks, and a video in place of an image.

The matching, the recall points and the summary are pycocotools' COCOeval, inherited. What YouTube-VIS changes, by the
rules of its evaluation server (tests/evaluation/test_ytvis_ap.py holds this file to figures recorded from it, bit by
bit):

- IoU of two tubes: the sum over the frames of the shared pixels, divided by the sum of the joined ones. A frame in
  which only one of them is present adds that one's area to the union. A crowd has this IoU, too, not COCO's.
- Size of a tube: the mean of its areas over the frames where they are not 0; the ground truth's areas are those that
  the annotation file says, a prediction's those of its masks. small, medium and large part at 128^2 and 256^2.
- An `ignore` in the annotations means nothing; crowds are ignored.
"""

import contextlib
import io
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval

AREAS = {"all": [0**2, 1e5**2], "small": [0**2, 128**2], "medium": [128**2, 256**2], "large": [256**2, 1e5**2]}
STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


@dataclass(frozen=True)
class YtvisAP:
    """stats: (12,) in the order of STATS; precision: (10 IoU thresholds, 101 recalls, K categories, 4 sizes, at most
    1, 10, 100 predictions per video and category); recall: (10, K, 4, 3). All in 0..1, -1 where there is no ground
    truth. category_ids: (K,), ascending."""

    stats: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    category_ids: tuple

    def of_category(self, category_id):
        """-> AP in 0..1 of one category, over all sizes; -1 without ground truth."""
        precision = self.precision[:, :, self.category_ids.index(category_id), 0, -1]
        defined = precision[precision > -1]
        return float(defined.mean()) if defined.size else -1.0


def ytvis_ap(tracks, results, *, video_ids, category_ids):
    """tracks: ground truth, dicts {"video_id", "category_id", "iscrowd", "areas", "segmentations"} in the file's order;
    results: predictions {"video_id", "category_id", "score", "segmentations"}, those of one video and category in
    the order that breaks ties of their scores. segmentations: a compressed RLE or None per frame; areas: a number or
    None per frame. -> YtvisAP."""
    evaluation = TubeEval(tracks, results, video_ids=video_ids, category_ids=category_ids)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints each step
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    found = evaluation.eval
    return YtvisAP(evaluation.stats, found["precision"], found["recall"], tuple(sorted(category_ids)))


class TubeEval(COCOeval):
    """COCOeval over videos; "image" in the names it inherits is a video."""

    def __init__(self, tracks, results, *, video_ids, category_ids):
        """As ytvis_ap."""
        super().__init__(iouType="segm")
        self.params.imgIds, self.params.catIds = sorted(video_ids), sorted(category_ids)
        self.params.areaRngLbl, self.params.areaRng = list(AREAS), list(AREAS.values())
        self._tracks, self._results = tracks, results

    def _prepare(self):
        self._gts, self._dts = defaultdict(list), defaultdict(list)
        # Ids say only whether something was matched, and 0 would say no: they are counted from 1.
        for number, track in enumerate(self._tracks, 1):
            crowd = int(bool(track.get("iscrowd")))
            tube = {**_tube(track), "id": number, "iscrowd": crowd, "ignore": crowd, "area": _size(track["areas"])}
            self._gts[track["video_id"], track["category_id"]].append(tube)
        for number, result in enumerate(self._results, 1):
            tube = {**_tube(result), "id": number, "score": result["score"], "iscrowd": 0}
            self._dts[result["video_id"], result["category_id"]].append(tube | {"area": _size(tube["areas"])})
        self.evalImgs, self.eval = defaultdict(list), {}

    def computeIoU(self, imgId, catId):
        """-> (D, G) of the D best predictions, best first, with the ground truth in its order; [] without either."""
        gt, dt = self._gts[imgId, catId], self._dts[imgId, catId]
        if not gt and not dt:
            return []
        best = np.argsort([-d["score"] for d in dt], kind="mergesort")[:self.params.maxDets[-1]]
        return np.array([tube_iou(dt[i], g) for i in best for g in gt], dtype=np.float64).reshape(len(best), len(gt))


def tube_iou(a, b):
    """a, b: {"rles": RLE or None per frame, "areas": of these masks, 0 where absent} -> IoU in 0..1; 0 without any
    pixel. The shorter one ends the comparison."""
    shared = joined = 0
    for rle_a, rle_b, area_a, area_b in zip(a["rles"], b["rles"], a["areas"], b["areas"], strict=False):
        both = int(coco_mask.area(coco_mask.merge([rle_a, rle_b], intersect=True))) if area_a and area_b else 0
        shared, joined = shared + both, joined + area_a + area_b - both
    return shared / joined if joined else 0.0


def restrict(items, frames):
    """items: tracks or results as in ytvis_ap; frames: {video id: collection of 0-based frame indices}.
    -> those items that are present in one of these frames; in all other frames they are absent."""
    kept = []
    for item in items:
        inside = frames.get(item["video_id"], ())
        part = {name: [value if t in inside else None for t, value in enumerate(item[name])]
                for name in ("segmentations", "areas") if name in item}
        if any(part["segmentations"]):
            kept.append({**item, **part})
    return kept


def mask_areas(segmentations):
    """-> pixels of each RLE, 0 for None."""
    present = [rle for rle in segmentations if rle]
    areas = iter(coco_mask.area(present).tolist() if present else ())
    return [next(areas) if rle else 0 for rle in segmentations]


def _tube(item):
    return {"rles": item["segmentations"], "areas": mask_areas(item["segmentations"])}


def _size(areas):
    counted = [area for area in areas if area]
    return np.array(counted).mean() if counted else 0
