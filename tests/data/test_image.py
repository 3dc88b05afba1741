import struct
import zlib
from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image

from stpn.data import image as image_module
from stpn.data.image import read_image
from stpn.errors import InputError


@pytest.fixture
def colours():
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))


def test_jpeg_equals_opencv_reading(tmp_path, colours):
    path = tmp_path / "x.JPEG"
    cv2.imwrite(str(path), colours[:, :, ::-1])
    image = read_image(path)
    assert image.dtype == np.uint8 and image.flags.writeable
    assert np.abs(image.astype(int) - cv2.imread(str(path))[:, :, ::-1]).max() <= 1


def test_16_bit_grey_png_is_scaled_not_clipped(tmp_path):
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), values)
    assert read_image(tmp_path / "deep.png")[0].tolist() == [[v, v, v] for v in (0, 0, 1, 128, 255)]


def test_16_bit_colour_png_is_scaled_and_warned_once(tmp_path, colours, caplog, monkeypatch):
    monkeypatch.setattr("detectron2.utils.logger._LOG_COUNTER", Counter())
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), colours[:, :, ::-1].astype(np.uint16) * 257)
        assert np.array_equal(read_image(tmp_path / f"{name}.png"), colours)
    assert sum("16-bit" in record.message for record in caplog.records if record.levelname == "WARNING") == 1


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_grey_palette_and_alpha_become_rgb(tmp_path, mode):
    grey = Image.fromarray(np.array([[0, 255, 255], [0, 0, 255]], np.uint8))
    grey.convert("RGB").convert(mode).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png")
    assert image.shape == (2, 3, 3)
    assert np.array_equal(image, np.asarray(grey.convert("RGB")))


def test_palette_with_transparency_is_read_without_a_warning(tmp_path, recwarn):
    Image.new("P", (3, 2), 1).save(tmp_path / "x.png", transparency=b"\x00\x80")
    assert read_image(tmp_path / "x.png").shape == (2, 3, 3)
    assert not recwarn


def test_cmyk_jpeg_becomes_rgb(tmp_path, colours):
    Image.fromarray(colours).convert("CMYK").save(tmp_path / "x.jpg", quality=100, subsampling=0)
    assert np.abs(read_image(tmp_path / "x.jpg").astype(int) - colours).mean() < 6


@pytest.mark.parametrize("orientation, turned", [
    (1, lambda x: x), (2, lambda x: x[:, ::-1]), (3, lambda x: x[::-1, ::-1]), (4, lambda x: x[::-1]),
    (5, lambda x: x.transpose(1, 0, 2)), (6, lambda x: np.rot90(x, -1)),
    (7, lambda x: x[::-1, ::-1].transpose(1, 0, 2)), (8, lambda x: np.rot90(x))])
def test_exif_rotated_jpeg_equals_the_rotated_picture(tmp_path, colours, orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(colours).save(tmp_path / "exif.jpg", exif=exif, quality=95)
    stored = read_image(tmp_path / "exif.jpg", upright=False)
    assert np.array_equal(read_image(tmp_path / "exif.jpg"), turned(stored))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1)])
def test_one_pixel_wide_pictures_are_read(tmp_path, size):
    Image.new("RGB", size, (9, 8, 7)).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").shape == (size[1], size[0], 3)


@pytest.mark.parametrize("name, content, says", [
    ("cut.jpg", "half", "truncated"), ("cut.png", "half", "cut.png"), ("empty.jpg", b"", "cannot"),
    ("text.jpg", b"no picture", "cannot"), ("folder.jpg", None, "folder.jpg"),
    ("none.jpg", "none", "not found")])
def test_unreadable_picture_is_an_input_error_naming_the_file(tmp_path, colours, name, content, says):
    path = tmp_path / name
    if content == "half":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif content is None:
        path.mkdir()
    elif content != "none":
        path.write_bytes(content)
    with pytest.raises(InputError, match=says) as error:
        read_image(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def _bomb(path, width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)
                     + chunk(b"IEND", b""))


@pytest.mark.parametrize("pillow_limit", [None, Image.MAX_IMAGE_PIXELS])
def test_decompression_bomb_is_refused_with_the_limit(tmp_path, monkeypatch, pillow_limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillow_limit)
    _bomb(tmp_path / "bomb.png", 60000, 60000)
    with pytest.raises(InputError, match=f"bomb.png.*{image_module.MAX_PIXELS} pixels"):
        read_image(tmp_path / "bomb.png")
