"""The frames of a video that is to be converted: how many there are, and which picture is which."""

import os

from ...errors import InputError
from ..file_reader import file_facts
from ..source_images import is_image, natural_key


def length_on_disk(path):
    """-> number of frames of a video file or a folder of pictures, None when it is not there (yet)."""
    if os.path.isdir(path):
        return len(frame_positions(path)) or None
    if not os.path.isfile(path):
        return None
    return 1 if is_image(os.path.basename(path)) else file_facts(path).length


def frame_positions(folder):
    """-> {name of a picture: its position in the folder}, {} when there is no such folder.

    Positions count from 0 in natural order, as the plain format does."""
    if not os.path.isdir(folder):
        return {}
    names = [name for name in os.listdir(folder) if is_image(name) and not name.startswith(".")]
    return {name: position for position, name in enumerate(sorted(names, key=natural_key))}


def frame_numbers(folder):
    """-> {number at the end of a picture's name: its position in the folder}, {} when there is no such folder."""
    positions = frame_positions(folder)
    numbers = {_last_number(os.path.splitext(name)[0]): position for name, position in positions.items()}
    if None in numbers or len(numbers) < len(positions):
        raise InputError(f"{folder}: the {len(positions)} pictures are not all numbered differently; expected names "
                         "such as 000001.jpg")
    return numbers


def _last_number(stem):
    digits = stem[len(stem.rstrip("0123456789")):]
    return int(digits) if digits else None
