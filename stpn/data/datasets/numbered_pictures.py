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
    # The braces of a folder's name are no places for the number.
    base = os.path.join(str(folder), "").replace("{", "{{").replace("}", "}}")
    return Numbered(f"{base}{{:0{len(digits)}d}}{extension}", first, numbers[-1][0])
