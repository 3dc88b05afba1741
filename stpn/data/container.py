"""What a video file says about itself before a frame is decoded: stream, rate, number of frames."""

from __future__ import annotations

import gc
import os
import re
from dataclasses import dataclass

import av

from ..errors import InputError

# These demuxers read other files or addresses that the file names, or draw text as pictures.
_NOT_VIDEO = {"hls", "dash", "concat", "tty", "sdp", "rtsp", "imf"}
_MAX_FPS = 1000
_MP4_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"uuid", b"meta"}

if hasattr(os, "register_at_fork"):
    # A forked worker of a data loader must not collect its parent's abandoned decoders: freeing one waits, for ever,
    # for threads that only the parent has.
    os.register_at_fork(after_in_child=gc.freeze)


@dataclass
class VideoHeader:
    """fps: None when the file does not say. length: frames whose data are in the file, None when not known.
    declared: frames that the file announces, None when it does not."""

    fps: float | None
    length: int | None
    declared: int | None


def open_container(path):
    """-> (av container, its video stream). Raises InputError that says what is wrong with the file."""
    if os.path.getsize(path) == 0:
        raise InputError(f"{path} is empty (0 bytes): not a video; copy or download it again")
    try:
        # "file:" keeps names with a colon from being taken for an address.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except av.FFmpegError as error:
        raise InputError(_diagnose(path, error)) from error
    try:
        return container, _video_stream(path, container)
    except InputError:
        container.close()
        raise


def read_header(path):
    """-> VideoHeader."""
    container, stream = open_container(path)
    with container:
        fps = _rate(stream)
        entries = [e for e in stream.index_entries if not e.is_discard] if stream.frames else []
        if len(entries) > 1:  # mp4 and avi: a table of all frames
            size = os.path.getsize(path)
            present = sum(e.pos + e.size <= size for e in entries)
            return VideoHeader(fps, present, max(len(entries), stream.frames - len(stream.index_entries)))
        if stream.frames:
            return VideoHeader(fps, stream.frames, stream.frames)
        seconds = _duration(container, stream)
        packets, end = _scan(container, stream)
    # Without a table of frames only the announced duration tells that the end is missing.
    missing = 0 if not (seconds and fps and packets) else round((seconds - end) * fps)
    return VideoHeader(fps, packets or None, packets + missing if missing > 2 else packets or None)


def _diagnose(path, error):
    boxes = _mp4_boxes(path)
    if boxes and b"moov" not in boxes:
        return (f"{path}: container index missing (no 'moov' box); the file was cut off while it was written "
                "or copied; copy it again, or repair it with a tool such as untrunc")
    return (f"{path} is not a video that can be read ({error.strerror}); expected mp4, webm, mkv, avi "
            "or similar")


def _mp4_boxes(path):
    """Types of an MP4 file's outermost boxes as far as they are intact; empty for other files."""
    boxes, position = [], 0
    with open(path, "rb") as handle:
        while len(head := handle.read(16)) >= 8 and head[4:8] in _MP4_BOXES:
            size = int.from_bytes(head[:4], "big")
            size = int.from_bytes(head[8:16], "big") if size == 1 else size  # 64-bit size
            boxes.append(head[4:8])
            if size < 8:
                break
            position += size
            handle.seek(position)
    return boxes


def _video_stream(path, container):
    if _NOT_VIDEO & set(container.format.name.split(",")):
        raise InputError(f"{path} is not a video but a {container.format.name} file; give the video itself")
    # A song's cover picture is a video stream to the container, but not to us.
    for stream in container.streams.video:
        if not stream.disposition & stream.disposition.attached_pic:
            if stream.codec_context is None:
                raise InputError(f"{path}: no decoder for its video stream; convert it to H.264")
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
    raise InputError(f"{path} has no video stream (streams in it: {kinds}); expected a video")


def _rate(stream):
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= _MAX_FPS:
            return float(rate)
    return None


def _duration(container, stream):
    """Announced length of the video stream in seconds, or None."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    clock = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if clock:
        hours, minutes, seconds = map(float, clock.groups())
        return 3600 * hours + 60 * minutes + seconds
    if container.duration and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _scan(container, stream):
    """Read through the packets without decoding -> (their number, end of the last one in seconds)."""
    count, end = 0, 0.0
    try:
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                count += 1
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    except av.FFmpegError:
        pass  # the decoding pass meets it again and reports it
    return count, end
