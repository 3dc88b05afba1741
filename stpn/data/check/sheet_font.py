"""Fonts for the contact sheet: one that has all letters of a text, or the text without those that none has."""

import functools
import unicodedata
from pathlib import Path

import matplotlib
from matplotlib.font_manager import findSystemFonts
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

SIZE = 12
# Comes with matplotlib: European scripts, Arabic, Hebrew and more, but not Chinese, Japanese or Korean.
_FIRST = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
_UNKNOWN = "?"
_UNDRAWABLE = {"Cc", "Cs", "Zl", "Zp"}  # controls such as line ends, halves of letters: fonts fail on them


@functools.lru_cache(maxsize=1000)
def font_for(text):
    """-> (PIL font, text as it can be drawn with it). Letters that no installed font has, and line ends and other
    controls, become "?"."""
    text = "".join(_UNKNOWN if unicodedata.category(letter) in _UNDRAWABLE else letter for letter in text)
    path = next((path for path in _fonts() if _lacking(text, path) == ""), None)
    if path is not None:
        return _open(path), text
    lacking = _lacking(text, str(_FIRST))
    return _open(str(_FIRST)), "".join(_UNKNOWN if letter in lacking else letter for letter in text)


def drawable(text):
    """Whether some installed font has all letters of a text."""
    return font_for(text)[1] == text


def _lacking(text, path):
    """-> the letters of a text that a font has not; None for a font that cannot be used."""
    letters = _letters(path)
    if letters is None:
        return None
    return "".join(letter for letter in text if ord(letter) not in letters and not letter.isspace())


@functools.cache
def _letters(path):
    """-> set of a font file's code points; None when it cannot be read, or not in our size (pictures as letters)."""
    try:
        _open(path)
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return None


@functools.lru_cache(maxsize=8)
def _open(path):
    return ImageFont.truetype(path, SIZE)


@functools.cache
def _fonts():
    # A font of last resort has every letter, each as a box.
    return [str(_FIRST), *sorted(path for path in findSystemFonts() if "lastresort" not in path.lower())]
