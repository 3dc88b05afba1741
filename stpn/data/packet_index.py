"""Which packet of a video file holds which frame, from the packets alone: nothing is decoded."""

import functools
import os

import av
import numpy as np

from .container import open_container, read_header

# Codecs of which every packet is one picture. Others may split a picture or hide one, which only decoding shows.
_ONE_PICTURE_A_PACKET = {
    "av1", "dnxhd", "ffv1", "ffvhuff", "h264", "hevc", "huffyv", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4",
    "png", "prores", "qtrle", "rawvideo", "utvideo", "vp8", "vp9",
}  # fmt: skip


class PacketIndex:
    """Frames of one file in display order, and where decoding may start.

    stamps: (N,) int64, ascending presentation times, in the stream's units; frame i has stamps[i].
    doubt: why frames cannot be found by their times, None when they can.
    """

    def __init__(self, packets, doubt=None):
        """packets: (presentation time, is a key frame, is shown) in the order of decoding."""
        times = [time for time, _, shown in packets if shown]
        self.doubt = doubt or _doubt(times, packets)
        self.stamps = np.sort(np.array([] if self.doubt else times, dtype=np.int64))
        if not self.doubt:
            places = np.array([place for place, (_, _, shown) in enumerate(packets) if shown], dtype=np.int32)
            self._places = places[np.argsort(times)]  # of each frame's packet, in the order of decoding
            self._keys = np.array([place for place, (_, key, _) in enumerate(packets) if key], dtype=np.int32)
            self._key_times = np.array([packets[place][0] for place in self._keys], dtype=np.int64)

    def __len__(self):
        return len(self.stamps)

    def start(self, i):
        """-> time of the key frame at which decoding must start for frame i: the last one that comes before it
        both in the file and on the screen (frames shown before a key frame may need the one before that)."""
        time = self.stamps[i]
        last = np.searchsorted(self._keys, self._places[i], side="right") - 1
        while last > 0 and self._key_times[last] > time:
            last -= 1
        return int(self._key_times[max(last, 0)])


def frame_count(path):
    """-> number of frames that a pass over a video file gives, or None when only decoding can tell."""
    container, stream = open_container(path)
    with container:
        table = "mp4" in container.format.name and len(stream.index_entries) > 1
        if table and stream.codec_context.codec.canonical_name in _ONE_PICTURE_A_PACKET:
            return read_header(path).length  # without reading the whole file
    return len(packet_index(path)) or None


def packet_index(path):
    """-> PacketIndex of a video file, kept for the process as long as the file stays as it is."""
    info = os.stat(path)
    return _read_index(os.fspath(path), info.st_size, info.st_mtime_ns)


@functools.lru_cache(maxsize=20_000)  # 12 bytes a frame, 12 a key frame: 20,000 files of 500 frames take 150 MB
def _read_index(path, size, changed):
    container, stream = open_container(path)
    with container:
        codec = stream.codec_context.codec.canonical_name
        if codec not in _ONE_PICTURE_A_PACKET:
            return PacketIndex([], doubt=f"its codec is {codec}")
        try:
            return PacketIndex([(packet.pts, packet.is_keyframe, _shows(packet, codec))
                                for packet in container.demux(stream) if packet.size])
        except av.FFmpegError as error:
            return PacketIndex([], doubt=f"it is damaged ({error.strerror})")


def _shows(packet, codec):
    """VP8 keeps hidden reference pictures in packets of their own, marked in their first byte."""
    return not packet.is_discard and (codec != "vp8" or bool(bytes(packet)[0] & 0x10))


def _doubt(times, packets):
    if any(time is None for time, _, _ in packets):
        return "packets lack time stamps"
    if len(set(times)) < len(times):
        return "time stamps repeat"
    if not any(key for _, key, _ in packets):
        return "no packet is marked as a key frame"
    return None if packets[0][1] else "it does not begin with a key frame"
