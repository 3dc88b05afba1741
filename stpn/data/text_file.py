"""Text files that users write or export: lists, tables, class names."""

from pathlib import Path

from ..errors import InputError


def read_text(path, *, expected):
    """-> what a UTF-8 file says, without a byte order mark.

    expected: what the file should be, for the InputError when it is a folder or not text in UTF-8.
    FileNotFoundError passes."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8 (byte {error.start}); expected {expected}, save it as "
                         "UTF-8") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; expected {expected}, a text file") from None
