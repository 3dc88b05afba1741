"""The pictures of a tracking sequence: files named by their number, without gaps where the set is whole."""

import os
import re
from typing import NamedTuple

from ...errors import InputError

_PICTURE = re.compile(r"(\d+)(\.(?:jpe?g|png))", re.IGNORECASE)


class Numbered(NamedTuple):
    """pattern: for str.format with a picture's number; first, last: smallest and largest number there is."""

    pattern: str
    first: int
    last: int

    @classmethod
    def of(cls, folder, *, first, last, digits=8, extension=".jpg"):
        """folder: of the pictures, without any where the defaults say how they would be named."""
        base = os.path.join(str(folder), "").replace("{", "{{").replace("}", "}}")  # no places for the number
        return cls(f"{base}{{:0{digits}d}}{extension}", first, last)


def numbered_pictures(folder):
    """-> Numbered of the folder's pictures, None when there are none. Names without a number are passed over.

    Digits and extension are those of the first: in every known set all others have the same."""
    try:
        names = filter(None, map(_PICTURE.fullmatch, os.listdir(folder)))
    except NotADirectoryError:
        raise InputError(f"{folder} is a file; expected the folder of a sequence") from None
    except FileNotFoundError:
        raise FileNotFoundError(f"sequence folder not found: {folder}; see datasets/README.md for the expected "
                                "tree") from None
    numbers = sorted((int(name[1]), name[1], name[2]) for name in names)
    if not numbers:
        return None
    first, digits, extension = numbers[0]
    return Numbered.of(folder, first=first, last=numbers[-1][0], digits=len(digits), extension=extension)


def refuse_from_zero(folder, pictures):
    """InputError for the Numbered of a folder whose pictures should be numbered from 1: every box would be taken for
    the frame before its own. pictures: None where there are none."""
    if pictures is not None and pictures.first == 0:
        raise InputError(f"{folder}: pictures are numbered from 0; expected from 00000001: rename them, each with the "
                         "next number")
