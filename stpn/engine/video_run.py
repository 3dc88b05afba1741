"""One run of a VideoPredictor over a source, its results written as they come."""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
import threading
import time
from dataclasses import dataclass

from tqdm import tqdm

from ..errors import InputError
from .drawing import draw_detections, draw_note
from .results import JsonLinesWriter, frame_record
from .start_boxes import BoxError
from .video_writer import VideoWriter


@dataclass
class RunTotals:
    """tracks: numbers of those that were found, None for a detector. lost: {number of a tracker's target: frames in
    which it was lost}, None for other models. unscored: results whose score is not known. seconds: without waiting for
    boxes. failure: the error that ended the source, if one did; everything before it has been written."""

    frames: int = 0
    unreadable: int = 0
    detections: int = 0
    tracks: set | None = None
    lost: dict | None = None
    unscored: int = 0
    seconds: float = 0.0
    failure: InputError | None = None
    interrupted: bool = False

    def count(self, result):
        found = result.predictions
        self.frames += 1
        self.unreadable += result.error is not None
        self.detections += len(found)
        self.unscored += int(found.scores.isnan().sum())
        if found.has("pred_ids"):
            self.tracks = (self.tracks or set()).union(found.pred_ids.tolist())
        if found.has("pred_lost"):
            self.lost = self.lost or {}
            for number, lost in zip(found.pred_ids.tolist(), found.pred_lost.tolist(), strict=True):
                self.lost[number] = self.lost.get(number, 0) + lost


def run_video(predictor, source, *, jsonl_path, video_path=None, score_threshold=None, max_frames=None,
              progress=True, draw=draw_detections, boxes=None):
    """Write the detections of at least score_threshold of each frame to jsonl_path, and the frames with them
    drawn to video_path. draw: (image, Instances, class names) -> picture. boxes: as VideoPredictor.stream takes them.
    -> RunTotals.

    A track's score is that of the last frames, so that it may pass the threshold in mid-video, either way; frames
    already written are not changed. A tracker's boxes are all written, those below the threshold as lost; None
    is 0.5, for a tracker its own (TEST.TRACKING.LOST_SCORE).

    Both files are written under temporary names. Ctrl-C, or an InputError of the source, ends the run early
    with both files whole as far as they go; so does a model whose scores are not finite, but its FloatingPointError
    is raised. Any other error leaves nothing behind, nor does a BoxError.
    """
    sampler = predictor.sampler(source)
    policy = sampler.policy if sampler else "none"
    totals, boxes = RunTotals(), _Patience(boxes) if callable(boxes) else boxes
    start = time.perf_counter()
    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(JsonLinesWriter(jsonl_path))
        video = video_path and stack.enter_context(
            VideoWriter(video_path, fps=source.fps, comment=f"STPN, support policy {policy}"))
        results = stack.enter_context(contextlib.closing(predictor.stream(source, boxes=boxes)))
        bar = stack.enter_context(_progress_bar(source, max_frames, progress))
        interrupted = stack.enter_context(_interruption())

        def write(result):
            result.predictions = _judged(result.predictions, score_threshold)
            lines.write(frame_record(result, predictor.class_names, policy=policy))
            if video:
                video.write(_drawn(result, predictor.class_names, draw), result.time)
            totals.count(result)
            bar.update()

        diverged = _each(itertools.islice(results, max_frames), write, totals, interrupted)
    if diverged is not None:
        raise diverged
    totals.seconds = time.perf_counter() - start - getattr(boxes, "seconds", 0.0)
    return totals


def _each(results, write, totals, interrupted):
    """write(result) of each, until they end, or Ctrl-C or a failure does, which totals then says. -> the
    FloatingPointError of scores that are not finite, None without."""
    diverged = None
    try:
        for result in results:
            write(result)
            if interrupted():
                break
    except KeyboardInterrupt:
        pass
    except BoxError:
        raise
    except InputError as error:
        totals.failure = error
    except FloatingPointError as error:
        diverged = error
    totals.interrupted = interrupted()
    return diverged


class _Patience:
    """The function, and the seconds that it took: its user's, not ours."""

    def __init__(self, function):
        self._function = function
        self.seconds = 0.0

    def __call__(self, image):
        start = time.perf_counter()
        found = self._function(image)
        self.seconds = time.perf_counter() - start
        return found


def _judged(found, threshold):
    """Instances of at least the threshold; of a tracker all, those below it as lost, None: as it says itself."""
    if not found.has("pred_lost"):
        return found[found.scores >= (0.5 if threshold is None else threshold)]
    if threshold is not None:
        found.pred_lost = found.scores < threshold
    return found


def _drawn(result, class_names, draw):
    if result.error is not None:
        return draw_note(result.image, f"frame {result.index} could not be read")
    return draw(result.image, result.predictions, class_names)


def _progress_bar(source, max_frames, progress):
    lengths = [n for n in (source.length, max_frames) if n is not None]
    return tqdm(total=min(lengths, default=None), unit=" frames", file=sys.stderr, disable=not progress)


@contextlib.contextmanager
def _interruption():
    """Yield a function that tells whether Ctrl-C was pressed. The first lets the frame at hand be finished,
    so that both files hold the same frames; the second interrupts at once."""
    pressed = []

    def note(number, frame):
        pressed.append(number)
        if len(pressed) > 1:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only the main thread hears signals
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
