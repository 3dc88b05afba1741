"""Groups of frames of a set in YouTube-VIS form, of which evaluation gives figures of their own."""

from .json_tables import Problem, is_whole, read_content, refuse_fatal


def read_groups(path, lengths):
    """-> {group: {id of a video: [frame indices]}}, from a JSON file with the ids as keys. lengths: {id: frames}.
    InputError for anything else, and for a video or frame that there is not."""
    content, problems = read_content(path)
    lengths = {str(key): length for key, length in lengths.items()}
    refuse_fatal(path, problems or list(_check_groups(content, lengths)))
    return {group: {int(key): frames for key, frames in members.items()} for group, members in content.items()}


def _check_groups(content, lengths):
    if not isinstance(content, dict):
        yield Problem("", 'is no object; expected {"group": {"id of a video": [frame, ...]}}', "structure")
        return
    for group, members in content.items():
        if not isinstance(members, dict):
            yield Problem(group, 'is no object; expected {"id of a video": [frame, ...]}', "structure")
            continue
        for key, frames in members.items():
            if key not in lengths:
                yield Problem(f"{group}.{key}", "is not the id of any of the videos", "unknown id")
            elif not isinstance(frames, list) or not all(is_whole(t, 0, lengths[key] - 1) for t in frames):
                yield Problem(f"{group}.{key}", f"is no list of frames of this video, 0..{lengths[key] - 1}",
                              "unknown id")
