"""The frames of a video that explain.py shows, with all that went into their prompts."""

import contextlib
import itertools

from stpn.data.source import open_source
from stpn.engine.readable_frames import ReadableFrames
from stpn.engine.start_boxes import check_boxes
from stpn.errors import InputError
from stpn.explain import aggregated_supports, explained_frames, tracked_frames


@contextlib.contextmanager
def readable(predictor, source):
    """ReadableFrames of an opened source, closed at the end. An error that ended the source is raised then."""
    with contextlib.closing(ReadableFrames(source, predictor._prepare)) as frames:
        yield frames
    if frames.failure is not None:
        raise frames.failure


def walk(predictor, source, wanted, start):
    """Yield Explained for the wanted frames of an opened source, None: for all. start: box of a tracker's target."""
    with readable(predictor, source) as frames:
        if start is None:
            yield from explained_frames(predictor.model, frames, wanted, sampler=predictor.sampler(source))
        else:
            passing = iter(frames)
            first = list(itertools.islice(passing, 1))
            for item in first:
                check_boxes([start], item["frame"])
            yield from tracked_frames(predictor.model, itertools.chain(first, passing), start, wanted)


def collect(predictor, source, wanted, start):
    """-> list of Explained, one a wanted frame. InputError where the video has not got one."""
    with open_source(source) as opened:
        found = list(walk(predictor, opened, wanted, start))
    missing = sorted(set(wanted) - {frame.t for frame in found})
    if missing and missing[0] == 0 and start is not None:
        raise InputError("frame 0 is where a tracker starts, without prompts; choose later frames")
    if missing:
        raise InputError(f"{source} has no frame {missing[0]} that can be read; expected numbers below its length, "
                         "from 0")
    if hasattr(predictor.model, "selsa_sampler"):
        with open_source(source) as opened, readable(predictor, opened) as frames:
            sampler = predictor.sampler(opened)
            supports = list(aggregated_supports(predictor.model, frames, wanted, sampler=sampler))
        found = [frame._replace(aggregated=one) for frame, one in zip(found, supports, strict=True)]
    return found
