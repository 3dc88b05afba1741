"""Video files: what PyAV decodes, what is wrong with a file, and that nothing is lost in silence."""

import gc
import warnings
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from stpn.data import container, source_file
from stpn.data.source import open_source
from stpn.errors import InputError

QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [200, 150, 100]]], np.uint8)


def moving_square(i, height=48, width=64):
    image = np.full((height, width, 3), (i * 4 % 256, 80, 40), np.uint8)
    image[10:30, i % 40 : i % 40 + 20] = 250
    return image


def write_clip(
    path,
    count=12,
    *,
    images=None,
    codec="libx264",
    pix_fmt="yuv420p",
    rate=10,
    options=None,
    times=None,
    rotation=0,
    size=(48, 64),
    container_options=None,
    full_range=False,
):
    """size: (H, W). times: seconds, for a variable frame rate."""
    images = images or [moving_square(i, *size) for i in range(count)]
    with av.open(str(path), "w", options=container_options or {}) as file:
        stream = file.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if rotation:
            stream.set_display_rotation(rotation)
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        if full_range:
            stream.codec_context.color_range = 2
        for i, image in enumerate(images):
            picture = av.VideoFrame.from_ndarray(image, "rgb24")
            picture = picture.reformat(format=pix_fmt, dst_color_range=2 if full_range else None)
            if times:
                picture.pts, picture.time_base = round(times[i] * 1000), Fraction(1, 1000)
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
    return str(path)


def damaged(path, *, keep=1.0, overwrite=0):
    """The file cut after a share of it, or with bytes at a third of it overwritten by noise."""
    data = open(path, "rb").read()
    third = len(data) // 3
    if overwrite:
        noise = np.random.default_rng(0).integers(0, 256, overwrite, dtype=np.uint8).tobytes()
        data = data[:third] + noise + data[third + overwrite :]
    with open(path, "wb") as file:
        file.write(data[: int(len(data) * keep)])
    return path


def reference_frames(path):
    with av.open(path) as file:
        return [picture.to_ndarray(format="rgb24") for picture in file.decode(video=0)]


@pytest.mark.parametrize(
    "name, codec, options",
    [
        ("a.mp4", "libx264", None),
        ("a.avi", "mpeg4", None),
        ("a.webm", "libvpx-vp9", {"cpu-used": "8"}),
        ("a.mp4", "libsvtav1", {"preset": "12"}),
        ("a.mkv", "libx264", None),
        ("a.ts", "libx264", None),
        ("a.h264", "libx264", None),
    ],
)
def test_every_frame_of_common_formats_comes_with_its_time(tmp_path, name, codec, options):
    path = write_clip(tmp_path / name, 12, codec=codec, options=options, size=(64, 64))
    source = open_source(path)
    frames = list(source)
    if not name.endswith(".h264"):  # a bare stream has no frame rate but the reader's guess
        assert source.fps == 10
    assert source.length == len(frames) == 12 and not source.warnings and not source.partial
    np.testing.assert_allclose([f.time for f in frames], np.arange(12) / source.fps, atol=2e-3)
    assert np.abs(frames[3].image.astype(int) - reference_frames(path)[3]).max() == 0


def test_second_pass_gives_the_same_frames(tmp_path):
    source = open_source(write_clip(tmp_path / "a.mp4", 5))
    assert all((a.image == b.image).all() for a, b in zip(source, source, strict=True))


def test_selected_frames_equal_those_of_the_pass(tmp_path):
    source = open_source(write_clip(tmp_path / "a.mp4", 12))
    frames = list(source)
    chosen = list(source.select([7, 0, 7, 11]))
    assert [f.index for f in chosen] == [0, 7, 11]
    assert all((f.image == frames[f.index].image).all() for f in chosen)


@pytest.mark.parametrize("content", [b"", b"just some text\n" * 40])
def test_empty_or_text_file_is_not_a_video(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mp4.*not a video"):
        open_source(str(tmp_path / "a.mp4"))


def test_mp4_without_index_is_named_so(tmp_path):
    path = damaged(write_clip(tmp_path / "a.mp4"), keep=0.5)
    with pytest.raises(InputError, match="container index missing"):
        open_source(path)


def test_webm_cut_short_reports_both_numbers_once(tmp_path):
    path = write_clip(tmp_path / "a.webm", 60, codec="libvpx-vp9", options={"cpu-used": "8", "g": "10"})
    source = open_source(damaged(path, keep=0.5))
    count = len(list(source))
    assert 0 < count < 60 and source.partial and source.length == count
    assert len(source.warnings) == 1 and f"decoded {count} of 60 declared frames" in source.warnings[0]


def test_mp4_with_index_in_front_cut_short_reports_both_numbers(tmp_path):
    path = write_clip(
        tmp_path / "a.mp4", 60, options={"g": "5"}, container_options={"movflags": "+faststart"}
    )
    source = open_source(damaged(path, keep=0.7))
    count = len(list(source))
    assert 0 < count < 60 and source.partial and "of 60 declared" in source.warnings[0]


@pytest.fixture
def overwritten(tmp_path):
    """A 60-frame H.264 file with damage in the middle."""
    return damaged(write_clip(tmp_path / "a.mp4", 60, size=(240, 320)), overwrite=800)


def test_overwritten_bytes_keep_the_frames_before_and_name_the_fault(overwritten):
    source = open_source(overwritten)
    frames = list(source)
    assert 0 < len(frames) < 60 and all(f.error is None for f in frames)
    assert source.partial
    assert (
        f"decoded {len(frames)} of 60 declared frames; first fault at frame {len(frames)}"
        in source.warnings[0]
    )


def test_overwritten_bytes_skipped_keep_indices_aligned(overwritten):
    whole = [moving_square(i, 240, 320) for i in range(60)]
    source = open_source(overwritten, on_error="skip")
    frames = list(source)
    assert [f.index for f in frames] == list(range(60)) and source.partial
    lost = [f.index for f in frames if f.error]
    assert lost and f"frame {lost[0]} " in frames[lost[0]].error
    np.testing.assert_allclose([f.time for f in frames], np.arange(60) / 10, atol=1e-6)
    assert np.abs(frames[2].image.astype(int) - whole[2]).mean() < 4
    assert f"decoded {60 - len(lost)} of 60" in source.warnings[0]


def test_container_without_frames_says_so_when_read(tmp_path):
    with av.open(str(tmp_path / "a.avi"), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        file.start_encoding()
    source = open_source(str(tmp_path / "a.avi"))
    with pytest.raises(InputError, match="no frame could be decoded"):
        list(source)


def test_audio_only_file_has_no_video_stream(tmp_path):
    with av.open(str(tmp_path / "a.m4a"), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        file.mux(stream.encode(sound))
        file.mux(stream.encode(None))
    with pytest.raises(InputError, match="no video stream.*audio"):
        open_source(str(tmp_path / "a.m4a"))


def test_playlist_that_names_other_files_is_not_opened(tmp_path):
    write_clip(tmp_path / "part.ts")
    for name, text in (
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\npart.ts\n#EXT-X-ENDLIST\n"),
        ("a.mp4", "ffconcat version 1.0\nfile part.ts\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="not a video"):
            open_source(str(tmp_path / name))


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_rotated_video_is_upright_as_opencv_shows_it(tmp_path, angle):
    image = np.kron(QUARTERS, np.ones((24, 32, 1), np.uint8))
    path = write_clip(tmp_path / "a.mp4", images=[image] * 3, rotation=angle, options={"crf": "5"})
    frame = next(iter(open_source(path)))
    assert frame.image.shape[:2] == ((64, 48) if angle % 180 else (48, 64))
    assert np.abs(frame.image.astype(int) - np.rot90(image, angle // 90))[4:20, 4:20].max() < 24
    capture = cv2.VideoCapture(path)
    other = capture.read()[1][:, :, ::-1]
    capture.release()
    assert other.shape == frame.image.shape and np.abs(other.astype(int) - frame.image).mean() < 4


def test_variable_frame_rate_gives_the_time_stamps_of_the_stream(tmp_path):
    times = [0.0, 0.04, 0.05, 0.3, 2.0]
    path = write_clip(tmp_path / "a.mp4", 5, times=times, rate=25)
    np.testing.assert_allclose([f.time for f in open_source(path)], times, atol=1e-3)
    np.testing.assert_allclose([f.time for f in open_source(path, fps=4)], np.arange(5) / 4)


def test_missing_frame_rate_becomes_25_with_a_warning_unless_given(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mp4", 3)
    monkeypatch.setattr(container, "_rate", lambda stream: None)
    source = open_source(path)
    assert source.fps == 25 and "frame rate" in source.warnings[0]
    source = open_source(path, fps=30)
    assert source.fps == 30 and not source.warnings


@pytest.mark.parametrize(
    "name, codec, pix_fmt, full_range",
    [
        ("a.mkv", "ffv1", "gray", False),
        ("a.mkv", "ffv1", "yuv444p10le", False),
        ("a.mkv", "ffv1", "bgra", False),
        ("a.mkv", "ffv1", "gray16le", False),
        ("a.mkv", "ffv1", "yuv444p", True),
    ],
)
def test_unusual_pixel_formats_become_rgb_within_two_levels(tmp_path, name, codec, pix_fmt, full_range):
    image = np.kron(QUARTERS, np.ones((16, 16, 1), np.uint8))
    path = write_clip(
        tmp_path / name, images=[image] * 2, codec=codec, pix_fmt=pix_fmt, full_range=full_range
    )
    expected = image
    if "gray" in pix_fmt:
        grey = (image @ np.array([0.299, 0.587, 0.114])).round()
        expected = np.repeat(grey[:, :, None], 3, axis=2)
    frame = next(iter(open_source(path)))
    assert frame.image.dtype == np.uint8
    assert np.abs(frame.image.astype(float) - expected).max() <= 2


def test_one_frame_and_odd_size(tmp_path):
    path = write_clip(tmp_path / "a.mkv", 1, codec="ffv1", pix_fmt="bgr0", size=(33, 47))
    (frame,) = open_source(path)
    assert frame.image.shape == (33, 47, 3) and (frame.image == moving_square(0, 33, 47)).all()


def test_change_of_resolution_in_mid_stream_keeps_true_sizes(tmp_path):
    first = write_clip(tmp_path / "1.h264", 4, size=(48, 64))
    second = write_clip(tmp_path / "2.h264", 3, size=(32, 32))
    with open(tmp_path / "a.h264", "wb") as file:
        file.write(open(first, "rb").read() + open(second, "rb").read())
    sizes = [frame.image.shape[:2] for frame in open_source(str(tmp_path / "a.h264"))]
    assert sizes == [(48, 64)] * 4 + [(32, 32)] * 3


@pytest.mark.parametrize(
    "name", ["a b.mp4", "é'\"quote.mp4", "-dash.mp4", "new\nline.mp4", "http:x.mp4", "100%d.mp4"]
)
def test_file_names_with_odd_characters_work(tmp_path, monkeypatch, name):
    write_clip(tmp_path / "plain.mp4", 2)
    (tmp_path / "plain.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(list(open_source(name))) == 2


def test_abandoned_pass_closes_its_file(tmp_path):
    path = write_clip(tmp_path / "a.mp4", 12)
    opened = []
    real = source_file.open_container

    def recording(path):
        opened.append(real(path)[0])
        return opened[-1], opened[-1].streams.video[0]

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        patch.setattr(source_file, "open_container", recording)
        frames = iter(open_source(path))
        next(frames)
        frames.close()
        gc.collect()
    with pytest.raises((AssertionError, ValueError)):  # PyAV's answers to the use of a closed container
        next(opened[0].demux(video=0))
