"""One result in YouTube-VIS form, checked; and the results of a video on their way from the model to the metric."""

import math
from dataclasses import dataclass

from ..data.datasets.mask_rle import fault
from ..errors import InputError
from .ytvis_truth import Video

FIELDS = ("video_id", "score", "category_id", "segmentations")


@dataclass(frozen=True)
class VideoTracks:
    """video_id: the data set's name of the video; json_id: its id in the annotation file; video: what the loader
    took it for; results: dicts of FIELDS and "track"."""

    video_id: str
    json_id: int
    video: Video
    results: list


def record_tracks(sample, output, *, index, category_ids):
    """sample: {"video_id", "json_id", "length", "height", "width"}; output: {"image_size": (H, W), "pred_scores",
    "pred_labels", "pred_ids": track numbers, "pred_masks": per track an RLE or None per frame}; index: the record's
    number, for messages; category_ids: id in the annotation file of each class number.
    -> VideoTracks. Refuses at once what can be seen in one video."""
    video = Video(sample["length"], sample["height"], sample["width"])
    record = VideoTracks(sample["video_id"], sample["json_id"], video, [])
    columns = {name: output[f"pred_{name}"] for name in ("scores", "labels", "ids", "masks")}
    where = f"record {index}: video {record.video_id}"
    if len({len(column) for column in columns.values()}) != 1:
        got = ", ".join(f"{len(column)} {name}" for name, column in columns.items())
        raise InputError(f"{where}: got {got}; expected as many of each")
    _refuse_other_sizes(output, video, where)
    for n, (score, label, track, rles) in enumerate(zip(*columns.values())):
        if not 0 <= label < len(category_ids):
            raise InputError(f"{where}: track {n} has class {label}; expected one in 0..{len(category_ids) - 1}: "
                             "check the number of classes")
        result = {"video_id": record.json_id, "score": float(score), "category_id": category_ids[int(label)],
                  "segmentations": [_as_text(rle) for rle in rles], "track": int(track)}
        problem = result_problem(result, {record.json_id: video}, category_ids)
        if problem:
            hint = "" if math.isfinite(result["score"]) else "; check the weights for NaN"
            raise InputError(f"{where}: track {n}: {problem}{hint}")
        record.results.append(result)
    return record


def _refuse_other_sizes(output, video, where):
    """The size of a mask is that of the picture it was found in, image_size that of the first."""
    masks = ((t, rle["size"]) for rles in output["pred_masks"] for t, rle in enumerate(rles) if rle is not None)
    for t, size in [(0, output["image_size"]), *masks]:
        if tuple(size) != video.size:
            raise InputError(f"{where}, frame {t}: the picture is of another size than the annotation says: got "
                             f"{tuple(size)}, expected {video.size} (height, width); correct the annotation file or "
                             "the picture")


def video_problems(records, truth):
    """records: VideoTracks of all processes; truth: YtvisTruth, each of whose videos must be there once.
    -> all that is wrong."""
    problems, first = [], {}
    for number, record in enumerate(records):
        name = f"record {number}: video {record.video_id} (id {record.json_id})"
        other = first.setdefault(record.json_id, number)
        if record.json_id not in truth.videos:
            problems.append(f"{name} is unknown; evaluate with the data set that was predicted")
        elif record.video != truth.videos[record.json_id]:
            problems.append(f"{name} was predicted as {record.video}; the data set has {truth.videos[record.json_id]}")
        elif other != number:
            problems.append(f"{name} was predicted already by record {other}; the loader must give each video to one "
                            "process")
    return problems + [f"video id {json_id} was not predicted; predict every video"
                       for json_id in sorted(truth.videos.keys() - first.keys())]


def result_problem(result, videos, categories):
    """result: anything; videos: {id: Video}; categories: known ids. -> what is wrong with it, None if nothing is."""
    if type(result) is not dict or not result.keys() >= set(FIELDS):
        boxes = "; this is a file of boxes: name a data set of that kind"
        return (f"is {shown(result)}; expected an object with {', '.join(FIELDS)}"
                + (boxes if type(result) is dict and "bbox" in result and "segmentations" not in result else ""))
    for name, known in (("video_id", videos), ("category_id", categories)):
        if type(result[name]) is not int or result[name] not in known:
            return f"{name} is {shown(result[name])}, which the data set does not know; its ids are {_some(known)}"
    if type(result["score"]) not in (int, float) or not math.isfinite(result["score"]):
        return f"score is {shown(result['score'])}; expected a finite number"
    return _tube_problem(result["segmentations"], videos[result["video_id"]], result["video_id"])


def _tube_problem(rles, video, video_id):
    if type(rles) is not list or len(rles) != video.length:
        got = f"{len(rles)} entries" if type(rles) is list else shown(rles)
        return f"segmentations have {got}; expected {video.length}, one per frame of video {video_id}"
    for t, rle in enumerate(rles):
        problem = None if rle is None else _mask_problem(rle, video.size)
        if problem:
            return f"segmentations[{t}]{problem}"
    return None


def _mask_problem(rle, size):
    if type(rle) is not dict or type(rle.get("counts")) is not str:
        return f' is {shown(rle)}; expected null or a compressed RLE {{"size": [height, width], "counts": "text"}}'
    wrong = fault(rle)
    if wrong:
        return f"{wrong[0]} {wrong[1]}; write masks with pycocotools.mask.encode"
    if list(rle["size"]) != list(size):
        return f".size is {list(rle['size'])}; expected the video's [height, width], {list(size)}"
    return None


def _as_text(rle):
    """pycocotools encodes to bytes, which JSON does not have."""
    if rle is None:
        return None
    counts = rle["counts"]
    return {"size": list(rle["size"]), "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts}


def shown(value):
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _some(ids):
    ids = sorted(ids)
    return ", ".join(map(str, ids[:10])) + (", ..." if len(ids) > 10 else "")
