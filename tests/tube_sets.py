"""Small video instance sets: ground truth as the content of a YouTube-VIS JSON file, and predictions for it."""

import copy

import numpy as np
from pycocotools import mask as coco_mask

CATEGORIES = [{"id": 2, "name": "dog"}, {"id": 5, "name": "cat"}, {"id": 9, "name": "cow"}]


def rle(mask):
    """mask: bool (H, W) -> compressed RLE as in a JSON file."""
    code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(n) for n in code["size"]], "counts": code["counts"].decode()}


def rectangle(size, x, y, w, h):
    mask = np.zeros(size, dtype=bool)
    mask[max(0, y):max(0, y + h), max(0, x):max(0, x + w)] = True
    return mask


def tube(size, *boxes):
    """boxes: per frame (x, y, w, h) or None. -> segmentations."""
    return [None if box is None else rle(rectangle(size, *box)) for box in boxes]


def track(number, video_id, category_id, segmentations, **more):
    areas = [None if s is None else int(coco_mask.area(s)) for s in segmentations]
    return {"id": number, "video_id": video_id, "category_id": category_id, "iscrowd": 0, "areas": areas,
            "segmentations": segmentations, **more}


def result(video_id, category_id, score, segmentations):
    return {"video_id": video_id, "score": score, "category_id": category_id, "segmentations": segmentations}


def content(sizes, annotations):
    """sizes: {video id: (length, height, width)}; annotations None: none in the file."""
    videos = [{"id": v, "length": n, "height": h, "width": w, "file_names": [f"{v}/{t}.jpg" for t in range(n)]}
              for v, (n, h, w) in sizes.items()]
    rows = {} if annotations is None else {"annotations": annotations}
    return {"videos": videos, "categories": CATEGORIES, **rows}


def random_set(seed, *, videos=4, ties=False):
    """-> content, results. Tubes of all three sizes, with absent frames, crowds, masks without a pixel, strays."""
    rng = np.random.default_rng(seed)
    sizes = {3 * v + 1: (int(rng.integers(1, 5)), 300, 290) for v in range(videos)}
    annotations, results = [], []
    for video_id, (length, *size) in sizes.items():
        for _ in range(rng.integers(0, 5)):
            side = rng.integers(60, 290)
            boxes = [(*rng.integers(0, 30, 2), side, side) if rng.random() < 0.8 else None for _ in range(length)]
            category_id = int(rng.choice([2, 5]))  # none is a cow
            crowd = int(rng.random() < 0.2)
            annotations.append(track(len(annotations) + 1, video_id, category_id, tube(size, *boxes), iscrowd=crowd))
            for _ in range(rng.integers(0, 4)):
                moved = [None if box is None or rng.random() < 0.1 else tuple(box + rng.integers(-9, 9, 4))
                         for box in boxes]
                results.append(result(video_id, category_id, float(rng.random()), tube(size, *moved)))
        stray = tube(size, *[(5, 5, 0, 0)] * length)
        results.append(result(video_id, int(rng.choice([2, 5, 9])), float(rng.random()), stray))
    if ties:
        results = [{**r, "score": round(r["score"], 1)} for r in results]
    return content(sizes, annotations), [results[i] for i in rng.permutation(len(results))]


def in_other_forms(whole):
    """The same set with every other RLE as a list of counts, and empty lists for null."""
    whole = copy.deepcopy(whole)
    masks = [(row["segmentations"], t) for row in whole["annotations"] for t in range(len(row["segmentations"]))]
    for n, (segmentations, t) in enumerate(masks):
        if segmentations[t] is None:
            segmentations[t] = []
        elif n % 2:
            flat = coco_mask.decode([segmentations[t]]).ravel(order="F")
            edges = np.flatnonzero(np.diff(np.append(0, flat)))
            counts = np.diff([0, *edges.tolist(), flat.size]).tolist()
            segmentations[t] = {"size": segmentations[t]["size"], "counts": counts}
    return whole
