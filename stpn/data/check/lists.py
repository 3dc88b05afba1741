"""A list file line by line: what of it can be used, and what is wrong with the rest."""

from ...errors import InputError
from ..datasets import image_sets


def usable_frames(text, path, data_folder):
    """As image_sets.read_frames, but a line that cannot be used is left out and reported.

    -> (list of ListedFrame, list of (kind, where, message) for Findings.add). Image ids are those of the list
    only if nothing is wrong with it. Raises InputError when not a single line is good.
    """
    try:
        return image_sets.read_frames(text, path, data_folder), []
    except (InputError, FileNotFoundError) as error:
        good, found = _good_lines(text, path, data_folder)
        if not good:
            raise InputError(f"no line of {path} can be used; first: {error}") from error
    found += _repeated_ids(good, path, data_folder)
    # The id is made a flag: repeated ones are no hindrance then.
    flagged = (" ".join([fields[0], "1", *fields[2:]]) for _, fields in good)
    return image_sets.read_frames("\n".join(flagged), path, data_folder), found


def _good_lines(text, path, data_folder):
    """-> list of (line number, fields), list of problems. A video's folder that is not there comes once."""
    good, found, folders = [], [], set()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            image_sets.read_frames(line, "", data_folder)
            good.append((number, line.split()))
        except InputError as error:
            found.append(("list line", f"{path}:{number}", str(error).removeprefix(":1: ")))
        except FileNotFoundError as error:
            folder = line.rpartition("/")[0]
            if folder not in folders:
                found.append(("missing picture", f"{data_folder}/{folder}", f"wanted by {path}:{number}: {error}"))
            folders.add(folder)
    return good, found


def _repeated_ids(lines, path, data_folder):
    first, found = {}, []
    for number, fields in lines:
        seen = first.setdefault(fields[1], number)
        if seen != number:
            found.append(("duplicate id", f"{path}:{number}", f"image id {fields[1]} is that of line {seen}, too"))
    if len(first) == 1:  # not ids but a class flag
        return []
    if not found:
        try:  # whole videos, whose ids count on from the one in the line, may overlap
            image_sets.read_frames("\n".join(" ".join(fields) for _, fields in lines), path, data_folder)
        except InputError as error:
            found.append(("duplicate id", path, str(error)))
    return found
