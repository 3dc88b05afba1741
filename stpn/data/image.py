"""read_image: one still picture from disk as RGB, or an error that names the file."""

import logging

import numpy as np
from detectron2.utils.logger import log_first_n
from PIL import Image

from ..errors import InputError

# Twice Pillow's own warning level: about 512 MiB of RGB. More is an accident or a decompression bomb.
MAX_PIXELS = 178_956_970
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path, *, upright=True):
    """-> np.uint8 (H, W, 3), RGB in 0..255, writable.

    16-bit samples are scaled to 8 bits (with one warning a run), alpha is dropped, grey, palette and CMYK
    pictures become RGB. upright: turn the picture as its EXIF orientation says.

    Raises InputError naming the file when it is missing, is no picture, is damaged or cut short, or has more
    than MAX_PIXELS pixels. (Pillow, because OpenCV returns a half-grey picture for a truncated JPEG.)
    """
    try:
        with Image.open(path) as picture:
            _refuse_large(path, picture)
            if _has_16_bits(picture):
                log_first_n(logging.WARNING, "16-bit pictures are scaled to 8 bits", name=__name__,
                            key="message")
            turn = _UPRIGHT.get(_orientation(picture)) if upright else None
            picture = _to_rgb(path, picture)
            return np.array(picture if turn is None else picture.transpose(turn))
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(_too_large(path)) from None
    except FileNotFoundError:
        raise InputError(f"image not found: {path}; check the path, and that all files are there") from None
    except Exception as error:  # Pillow's decoders raise many types on damaged bytes
        raise InputError(f"cannot read image {path}: {error or type(error).__name__}; "
                         "replace the file or take it out of the list") from error


def picture_size(path):
    """-> (width, height) in pixels of what read_image(path) returns, from the file's head alone.

    Raises InputError when the file is missing or no picture; damaged pixels are not noticed."""
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            return (height, width) if _orientation(picture) >= 5 else (width, height)
    except FileNotFoundError:
        raise InputError(f"image not found: {path}; check the path, and that all files are there") from None
    except Exception as error:
        raise InputError(f"cannot read image {path}: {error or type(error).__name__}") from error


def _too_large(path, size=""):
    return f"image {path} has {size}more than {MAX_PIXELS} pixels; refused, scale it down first"


def _refuse_large(path, picture):
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise InputError(_too_large(path, f"{width}x{height}, "))


def _orientation(picture):
    try:
        return picture.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1


def _has_16_bits(picture):
    """Ask before the pixels are loaded: of 16-bit colour Pillow then keeps the high bytes and no trace."""
    return picture.mode == "I" or ";16" in picture.mode or any(";16" in str(tile[3]) for tile in picture.tile)


def _to_rgb(path, picture):
    if picture.mode in ("I", "F") or ";16" in picture.mode:
        return _from_deep_grey(path, picture)
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _from_deep_grey(path, picture):
    """16-bit grey -> RGB by its high byte, as Pillow does with 16-bit colour (a plain convert clips)."""
    values = np.asarray(picture)
    if picture.mode == "F" or values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise InputError(f"image {path} has {picture.mode!r} pixels outside 0..65535 or not whole; "
                         "convert it to 8 or 16 bits")
    return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")
