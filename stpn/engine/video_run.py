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
from .video_writer import VideoWriter


@dataclass
class RunTotals:
    """tracks: numbers of those that were found, None for a detector. failure: the error that ended the source, if one
    did; everything before it has been written."""

    frames: int = 0
    unreadable: int = 0
    detections: int = 0
    tracks: set | None = None
    seconds: float = 0.0
    failure: InputError | None = None
    interrupted: bool = False

    def count(self, result):
        self.frames += 1
        self.unreadable += result.error is not None
        self.detections += len(result.predictions)
        if result.predictions.has("pred_ids"):
            self.tracks = (self.tracks or set()).union(result.predictions.pred_ids.tolist())


def run_video(predictor, source, *, jsonl_path, video_path=None, score_threshold=0.5, max_frames=None,
              progress=True, draw=draw_detections):
    """Write the detections of at least score_threshold of each frame to jsonl_path, and the frames with them
    drawn to video_path. draw: (image, Instances, class names) -> picture. -> RunTotals.

    A track's score is that of the last frames, so that it may pass the threshold in mid-video, either way; frames
    already written are not changed.

    Both files are written under temporary names. Ctrl-C, or an InputError of the source, ends the run early
    with both files whole as far as they go; so does a model whose scores are not finite, but its FloatingPointError
    is raised. Any other error leaves nothing behind.
    """
    sampler = predictor.sampler(source)
    policy = sampler.policy if sampler else "none"
    totals, start, diverged = RunTotals(), time.perf_counter(), None
    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(JsonLinesWriter(jsonl_path))
        video = video_path and stack.enter_context(
            VideoWriter(video_path, fps=source.fps, comment=f"STPN, support policy {policy}"))
        results = stack.enter_context(contextlib.closing(predictor.stream(source)))
        bar = stack.enter_context(_progress_bar(source, max_frames, progress))
        interrupted = stack.enter_context(_interruption())
        try:
            for result in itertools.islice(results, max_frames):
                result.predictions = result.predictions[result.predictions.scores >= score_threshold]
                lines.write(frame_record(result, predictor.class_names, policy=policy))
                if video:
                    video.write(_drawn(result, predictor.class_names, draw), result.time)
                totals.count(result)
                bar.update()
                if interrupted():
                    break
        except KeyboardInterrupt:
            pass
        except InputError as error:
            totals.failure = error
        except FloatingPointError as error:
            diverged = error
        totals.interrupted = interrupted()
    if diverged is not None:
        raise diverged
    totals.seconds = time.perf_counter() - start
    return totals


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
