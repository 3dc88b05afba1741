"""Frames of video files by their number: equal to a pass over the file, from any process."""

import gc
import logging
import pickle
import random
import threading

import numpy as np
import pytest
import torch.multiprocessing as mp
from plain_sets import LOSSLESS, pictures, write_file

from stpn.data import frame_access, packet_index
from stpn.data.file_reader import FileReader, file_facts
from stpn.data.source_file import VideoFile
from stpn.data.video import VideoIndex
from stpn.errors import InputError

LONG_GOP = {"g": "1000", "bf": "3"}
# name -> (file, write_file's options, read by seeking)
KINDS = {
    "h264 with B frames": ("v.mp4", {"options": {"g": "8", "bf": "3"}}, True),
    "h264 with one key frame": ("v.mp4", {"options": LONG_GOP}, True),
    "h264 with open groups": ("v.mkv", {"options": {
        "x264-params": "open-gop=1:keyint=8:min-keyint=8:bframes=3"}}, True),
    "h264 in a transport stream": ("v.ts", {"options": {"g": "8", "bf": "2"}}, True),
    "h264 of variable rate": ("v.mp4", {"options": {"g": "8"}, "times": [40 * i + i * i for i in range(30)]}, True),
    "h264, turned": ("v.mp4", {"options": {"g": "8"}, "rotation": 90}, True),
    "h264 without key frames after the first": ("v.mp4", {"options": {
        "x264-params": "intra-refresh=1:keyint=8:min-keyint=8"}}, False),
    "mpeg4 with B frames": ("v.mp4", {"codec": "mpeg4", "options": {"g": "8", "bf": "2"}}, True),
    "mpeg4 in avi": ("v.avi", {"codec": "mpeg4", "options": {"g": "8", "bf": "2"}}, True),
    "mpeg2": ("v.ts", {"codec": "mpeg2video", "options": {"g": "8", "bf": "2"}}, True),
    "vp8": ("v.webm", {"codec": "libvpx", "options": {"g": "12", "deadline": "realtime"}}, True),
    "vp9": ("v.webm", {"codec": "libvpx-vp9", "options": {"g": "8", "deadline": "realtime", "cpu-used": "8"}}, True),
    "mjpeg": ("v.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}, True),
    "ffv1 in RGB": ("v.mkv", LOSSLESS, True),
    "a codec of unknown habits": ("v.avi", {"codec": "msmpeg4v2", "options": {"g": "8"}}, False),
}  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_open():
    frame_access._local.__dict__.clear()


def passing(path):
    return [frame.image for frame in VideoFile(path)]


def is_walking(path):
    return isinstance(frame_access._local.files[str(path)]._frames, frame_access._Walk)


@pytest.mark.parametrize("kind", KINDS)
def test_frame_equals_that_of_a_pass_in_any_order(tmp_path, kind, monkeypatch):
    name, options, seeks = KINDS[kind]
    path = write_file(tmp_path / name, pictures(30), **options)
    expected = passing(path)
    assert file_facts(path) == (len(expected), *expected[0].shape[1::-1])
    monkeypatch.setattr(frame_access, "RECENT_BYTES", 0)  # no picture is at hand already
    order = [*random.Random(0).sample(range(30), 12), 29, 0, 1, 7, 8, 15, 14, 13]
    assert all(np.array_equal(frame_access.read_frame(path, i), expected[i]) for i in order)
    assert is_walking(path) != seeks


def test_recent_pictures_are_not_decoded_again_and_are_copies(tmp_path, monkeypatch):
    path = write_file(tmp_path / "v.mp4", pictures(20), options=LONG_GOP)
    expected = passing(path)
    frame_access.read_frame(path, 12)[:] = 0
    monkeypatch.setattr(frame_access._Seek, "_jump", None)
    monkeypatch.setattr(frame_access._Seek, "_on_to", None)
    assert all(np.array_equal(frame_access.read_frame(path, i), expected[i]) for i in (12, 11, 3, 0))


def test_reading_on_does_not_seek_and_decodes_each_frame_once(tmp_path, monkeypatch):
    path = write_file(tmp_path / "v.mp4", pictures(20), options=LONG_GOP)
    jumps, jump = [], frame_access._Seek._jump
    monkeypatch.setattr(frame_access._Seek, "_jump", lambda self, start: (jumps.append(start), jump(self, start)))
    monkeypatch.setattr(frame_access, "RECENT_BYTES", 0)
    for i in range(5, 20, 3):
        frame_access.read_frame(path, i)
    assert len(jumps) == 1


def test_memory_is_bounded_by_bytes_and_open_files(tmp_path, monkeypatch):
    paths = [write_file(tmp_path / f"{n}.mp4", pictures(8, seed=n)) for n in range(6)]
    size = 3 * 48 * 64 // 2  # YUV 4:2:0, without the decoder's padding
    monkeypatch.setattr(frame_access, "RECENT_BYTES", 6 * size)
    for path in paths:
        frame_access.read_frame(path, 7)
    files = frame_access._local.files
    assert list(files) == [str(path) for path in paths[-frame_access.OPEN_FILES:]]
    assert all(1 <= len(file._frames._recent) <= 6 for file in files.values())


@pytest.mark.parametrize("walking", [False, True])
def test_frame_behind_the_end_is_an_input_error(tmp_path, monkeypatch, walking):
    path = write_file(tmp_path / "v.mp4", pictures(5))
    if walking:
        monkeypatch.setattr(packet_index, "_ONE_PICTURE_A_PACKET", set())
        packet_index._read_index.cache_clear()
    with pytest.raises(InputError, match=f"{path} has 5 frames; frame 5 was asked for"):
        frame_access.read_frame(path, 5)
    packet_index._read_index.cache_clear()


def test_a_container_whose_seeking_misleads_is_still_read_exactly(tmp_path, monkeypatch):
    """The jump lands behind the wanted key frame, as with a wrong index in the file."""
    path = write_file(tmp_path / "v.mp4", pictures(24), options={"g": "8"})
    expected = passing(path)
    last = int(packet_index.packet_index(path).stamps[16])
    open_container = frame_access.open_container

    class Misleading:
        def __init__(self, container):
            self._container = container

        def __getattr__(self, name):
            return getattr(self._container, name)

        def seek(self, time, **options):
            self._container.seek(last, **options)

    monkeypatch.setattr(frame_access, "open_container",
                        lambda path: (lambda container, stream: (Misleading(container), stream))(*open_container(path)))
    assert all(np.array_equal(frame_access.read_frame(path, i), expected[i]) for i in (9, 3, 20, 12))
    assert not is_walking(path)


def test_hidden_pictures_of_vp8_are_no_frames():
    class Packet(bytes):  # RFC 6386, 9.1: bit 0 is clear in a key frame, bit 4 says that the frame is shown
        is_discard = False

    assert [packet_index._shows(Packet([byte]), "vp8") for byte in (0b10000, 0b10001, 0b00001)] == [True, True, False]
    assert packet_index._shows(Packet([0b00001]), "h264")
    index = packet_index.PacketIndex([(0, True, True), (3, False, False), (1, False, True), (2, False, True)])
    assert index.stamps.tolist() == [0, 1, 2] and index.start(2) == 0


def test_frames_shown_before_a_key_frame_start_at_the_one_before():
    packets = [(0, True, True), (2, False, True), (1, False, True), (5, True, True), (3, False, True), (4, False, True)]
    index = packet_index.PacketIndex(packets)
    assert [index.start(i) for i in range(6)] == [0, 0, 0, 0, 0, 5]


@pytest.mark.parametrize("packets, doubt", [
    ([(0, True, True), (None, False, True)], "packets lack time stamps"),
    ([(0, True, True), (0, False, True)], "time stamps repeat"), ([(0, False, True)], "no packet is marked as a key"),
    ([(0, False, True), (1, True, True)], "does not begin with a key frame"), ([], "no packet")])  # fmt: skip
def test_packets_that_do_not_tell_their_frames_are_doubted(packets, doubt):
    assert doubt in packet_index.PacketIndex(packets).doubt


def test_index_of_packets_takes_a_few_bytes_a_frame():
    """It was 122: a dict held each frame's place."""
    order = [time + (2, 0, -2)[time % 3] for time in range(30_000)]  # not the order of the screen
    packets = [(time, place % 100 == 0, True) for place, time in enumerate(order)]
    index = packet_index.PacketIndex(packets)
    held = vars(index).values()
    assert sum(value.nbytes for value in held if isinstance(value, np.ndarray)) <= 13 * len(index)
    assert index.doubt is None and all(isinstance(value, np.ndarray) or value is None for value in held)
    for i in (0, 99, 100, 101, 299, 300, 29_999):
        keys = [(place, time) for place, (time, key, _) in enumerate(packets) if key]
        expected = [time for place, time in keys if place <= order.index(i) and time <= i]
        assert index.start(i) == (expected[-1] if expected else keys[0][1])


def test_file_that_cannot_be_sought_in_is_not_sought_in_again_after_others_were_read(tmp_path, monkeypatch, caplog):
    path = write_file(tmp_path / "v.mp4", pictures(6), options={"g": "3"})
    others = [write_file(tmp_path / f"{n}.mp4", pictures(1)) for n in range(frame_access.OPEN_FILES)]
    expected, tried = passing(path), []

    def jump(self, start):
        tried.append(start)
        raise frame_access._Unreliable("a test says so")

    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(frame_access._Seek, "_jump", jump)
        assert np.array_equal(frame_access.read_frame(path, 4), expected[4])
        monkeypatch.setattr(frame_access._Seek, "_jump", lambda self, start: tried.append("again"))
        for other in others:
            frame_access._open(str(other))
        assert str(path) not in frame_access._local.files
        assert np.array_equal(frame_access.read_frame(path, 1), expected[1])
    assert len(tried) == 1 and is_walking(path)
    assert caplog.text.count(f"frames of {path} are found by decoding it from the start") == 1


def test_damaged_file_keeps_its_frame_numbers_and_names_the_lost_frame(tmp_path, caplog):
    path = write_file(tmp_path / "v.mp4", pictures(40), options={"g": "10", "bf": "0"})
    data = bytearray(path.read_bytes())
    data[len(data) // 3: len(data) // 3 + 2000] = np.random.default_rng(0).integers(0, 256, 2000, np.uint8).tobytes()
    path.write_bytes(data)
    passed = list(VideoFile(path, on_error="skip"))
    assert len(passed) == 40 and any(frame.error for frame in passed)
    with caplog.at_level(logging.WARNING):
        for frame in passed[::-1]:
            if frame.error is None:
                assert np.array_equal(frame_access.read_frame(path, frame.index), frame.image)
            else:
                with pytest.raises(InputError, match=f"frame {frame.index} of .*v.mp4 cannot be decoded"):
                    frame_access.read_frame(path, frame.index)
    assert "which is slow: decoding towards frame" in caplog.text


def _read_in_process(index, order, queue):
    queue.put([int(index.read("v", i).astype(np.int64).sum()) for i in order])


def test_forked_workers_and_threads_read_the_frames_of_the_parent(tmp_path):
    path = write_file(tmp_path / "v.mp4", pictures(20), options={"g": "8"})
    expected = [int(image.astype(np.int64).sum()) for image in passing(path)]
    index = VideoIndex()
    index.add_file("v", path, 20)
    index.read("v", 9)  # the parent's file is open when the children begin
    index = pickle.loads(pickle.dumps(index))  # as for workers that are not forked: nothing open goes with it
    order = [3, 17, 9, 0]
    context = mp.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=_read_in_process, args=(index, order, queue)) for _ in range(2)]
    children.append(threading.Thread(target=_read_in_process, args=(index, order, queue)))
    for child in children:
        child.start()
    assert [int(index.read("v", i).astype(np.int64).sum()) for i in order[::-1]] == [expected[i] for i in order[::-1]]
    assert [queue.get(timeout=60) for _ in children] == [[expected[i] for i in order]] * 3
    for child in children:
        child.join(30)


# ---- whole files


def test_reader_gives_prepared_frames_and_selects(tmp_path):
    path = write_file(tmp_path / "v.mp4", pictures(9))
    expected = passing(path)
    reader = FileReader(path, 9, prepare=lambda frame: (frame.index, frame.image), name="v")
    for _ in range(2):
        found = list(reader)
        assert [i for i, _ in found] == list(range(9)) and reader.length == len(reader) == 9 and reader.fps == 25
        assert all(np.array_equal(image, expected[i]) for i, image in found)
    picked = list(reader.select([7, 2, 7]))
    assert [i for i, _ in picked] == [2, 7] and np.array_equal(picked[1][1], expected[7])
    with pytest.raises(IndexError, match="0..8"):
        reader.select([9])


def test_reader_ends_its_thread_when_a_pass_is_abandoned(tmp_path):
    stream = iter(FileReader(write_file(tmp_path / "v.mp4", pictures(9)), 9))
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stpn-frames")]


@pytest.mark.parametrize("length, says", [(9, "gave more than 9 frames"), (11, "gave 10 of 11 frames")])
def test_reader_refuses_a_file_of_another_length(tmp_path, length, says):
    path = write_file(tmp_path / "v.mp4", pictures(10))
    with pytest.raises(InputError, match=f"{path} {says}"):
        list(FileReader(path, length))


def test_index_holds_files_beside_pictures(tmp_path):
    path = write_file(tmp_path / "v.mp4", pictures(3))
    index, same, other = VideoIndex(), VideoIndex(), VideoIndex()
    index.add_file("v", path, 3)
    same.add_file("v", str(path), 3)
    other.add_file("v", path, 2)
    assert index.path("v", 2) == f"{path}#2" and index.file("v") == str(path) and index.length("v") == 3
    assert list(VideoIndex.merge(index, same)) == ["v"]
    with pytest.raises(InputError, match="different videos called v"):
        VideoIndex.merge(index, other)
    with pytest.raises(IndexError, match="0..2"):
        index.read("v", 3)


def _collect(queue):
    queue.put(gc.collect() >= 0)


def test_forked_worker_does_not_free_its_parents_decoders(tmp_path):
    """Freeing one waits for threads that only the parent has: a worker hung as soon as it collected garbage."""
    path = write_file(tmp_path / "v.mp4", pictures(20), options={"g": "8"})
    context = mp.get_context("fork")
    queue = context.Queue()
    gc.disable()
    try:
        for _ in range(3):
            abandoned = [iter(VideoFile(path))]
            next(abandoned[0])
            abandoned.append(abandoned)  # garbage that waits for the collector
        del abandoned
        child = context.Process(target=_collect, args=(queue,), daemon=True)
        child.start()
        assert queue.get(timeout=30)
    finally:
        child.kill()
        gc.enable()
