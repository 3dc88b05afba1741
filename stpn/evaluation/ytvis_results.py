"""Results of a whole data set in YouTube-VIS form: written for the metric and the evaluation servers, and read again.

    results.json   [{"video_id": 1, "score": 0.9, "category_id": 4, "segmentations": [RLE or null, ...]}, ...]
    results.zip    the submission: results.json and nothing else

video_id and category_id are those of the annotation file; segmentations has one entry per frame of the video, a
compressed RLE {"size": [height, width], "counts": "text"} of its original size. A video in which nothing was found has
no record. "track" is ours and optional, the number of the track in its video: two tracks that a model cannot tell apart
are two records all the same. The servers' program reads the other keys by name and leaves it alone.
"""

import contextlib
import io
import json
import logging
import shutil
import zipfile
import zlib
from pathlib import Path

from ..errors import InputError, atomic_path
from .json_stream import stream_items, stream_list
from .ytvis_record import FIELDS, result_problem

RESULTS, SUBMISSION = "results.json", "results.zip"
BLOCK = 1 << 24  # characters, more than one record has: 500 frames with masks of 30,000 characters

logger = logging.getLogger(__name__)


def write_results(path, results):
    """results: dicts of FIELDS and perhaps "track", one a line. Scores keep every bit."""
    with atomic_path(path) as part, open(part, "w", encoding="utf-8") as handle:
        handle.write("[" + ",\n".join(json.dumps(result, allow_nan=False) for result in results) + "]\n")


def write_submission(path, results_file):
    """Pack a results.json. Equal results give equal archives: they carry no time."""
    member = zipfile.ZipInfo(RESULTS)
    member.compress_type, member.file_size = zipfile.ZIP_DEFLATED, Path(results_file).stat().st_size
    with atomic_path(path) as part, zipfile.ZipFile(part, "w") as archive:
        with open(results_file, "rb") as source, archive.open(member, "w") as packed:
            shutil.copyfileobj(source, packed)


def read_results(path, truth, *, all_videos=False):
    """path: results.json or results.zip; truth: YtvisTruth; all_videos: each of its videos must have a record.
    -> list of dicts of FIELDS, in the file's order. All that is wrong is logged, line by line, and InputError raised
    with the first: a file in the archive that does not belong, records that cannot be used (rows 49 and 51 of the
    reliability table), videos without a record."""
    problems, results, seen = [], [], set()
    try:
        with _opened(path, problems) as records:
            results += _sound(records, truth, problems, seen)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        problems.append(f"the archive is damaged or of an unknown kind ({error}); write it again")
    except InputError as error:  # the list breaks off; what was found before counts as well
        problems.append(str(error).removeprefix(f"{path} ").removeprefix(f"{path}: "))
    else:
        problems += _missing(seen, truth) if all_videos else []
    refuse(problems, where=path)
    return results


def refuse(problems, *, where):
    """Log all problems, if there are any, and raise InputError with the first."""
    if len(problems) > 1:
        for problem in problems:
            logger.error(f"{where}: {problem}")
    if problems:
        more = f" ({len(problems)} problems, all listed above)" if len(problems) > 1 else ""
        raise InputError(f"{where}: {problems[0]}{more}")


def _missing(seen, truth):
    """seen: ids of the videos that have a record, sound or not."""
    if not seen:
        return ["holds no record; an evaluation server ends with an error on an empty list: there is nothing to submit"]
    return [f"video {video_id} has no record; if nothing was found in it, say so with --allow-empty-videos"
            for video_id in sorted(truth.videos.keys() - seen)]


@contextlib.contextmanager
def _opened(path, problems):
    """Yield an iterator over the records; what is wrong with the archive is added to problems."""
    if Path(path).is_dir() or not zipfile.is_zipfile(path):
        if Path(path).suffix.lower() == ".zip" and Path(path).is_file():
            raise InputError(f"{path} is no zip archive, or was cut off; expected one that holds {RESULTS}")
        yield stream_list(path, block=BLOCK)
        return
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.filename == RESULTS]
        problems += [f"holds {member.filename}; expected {RESULTS} and nothing else: take it out"
                     for member in archive.infolist() if member.filename != RESULTS]
        if len(members) != 1 or members[0].flag_bits & 1:
            raise InputError(f"{path} holds {RESULTS} {len(members)} times{' with a password' if members else ''}; "
                             "expected it once, at its top, without a password")
        with archive.open(members[0]) as packed, io.TextIOWrapper(packed, encoding="utf-8-sig") as handle:
            yield stream_items(handle, f"{path}: {RESULTS}", block=BLOCK)


def _sound(records, truth, problems, seen):
    """Yield the records that can be used, of their keys FIELDS; what is wrong with others is added to problems, the
    video's id of all to seen."""
    first = {}
    for number, record in enumerate(records):
        if type(record) is dict and type(record.get("video_id")) is int:
            seen.add(record["video_id"])
        problem = result_problem(record, truth.videos, truth.categories)
        if problem is None:
            problem = _repeat(record, number, first)
        if problem:
            problems.append(f"record {number}: {problem}")
        else:
            yield {name: record[name] for name in FIELDS}


def _repeat(record, number, first):
    """first: {what a record says, shortened: number} of those before. Equal masks of different tracks are no repeat:
    the queries of a model that has learnt nothing are all alike."""
    counts = tuple(rle and rle["counts"] for rle in record["segmentations"])
    track = record.get("track") if type(record.get("track")) is int else None
    other = first.setdefault((record["video_id"], record["category_id"], record["score"], track, hash(counts)), number)
    return None if other == number else (
        f"repeats record {other}, the same video, category, score and masks: take it out; if they are two tracks, give "
        'each its number as "track"')
