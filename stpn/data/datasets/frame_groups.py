"""Groups of frames of whole videos, of which evaluation gives figures of their own."""

from .json_tables import Problem, is_whole, read_content, refuse_fatal


def read_groups(path, lengths, *, key="id of a video"):
    """-> {group: {video: [frame indices]}}, from a JSON file with the videos' keys as text. lengths: {key of a video:
    frames}; key: what that is, for messages. InputError for anything else, and for a video or frame that there is
    not."""
    content, problems = read_content(path)
    videos = {str(video): video for video in lengths}
    refuse_fatal(path, problems or list(_check(content, {text: lengths[videos[text]] for text in videos}, key)))
    return {group: {videos[text]: frames for text, frames in members.items()} for group, members in content.items()}


def _check(content, lengths, key):
    if not isinstance(content, dict):
        yield Problem("", f'is no object; expected {{"group": {{"{key}": [frame, ...]}}}}', "structure")
        return
    for group, members in content.items():
        if not isinstance(members, dict):
            yield Problem(group, f'is no object; expected {{"{key}": [frame, ...]}}', "structure")
            continue
        for video, frames in members.items():
            if video not in lengths:
                yield Problem(f"{group}.{video}", f"is not the {key} that is here", "unknown id")
            elif not isinstance(frames, list) or not all(is_whole(t, 0, lengths[video] - 1) for t in frames):
                yield Problem(f"{group}.{video}", f"is no list of frames of this video, 0..{lengths[video] - 1}",
                              "unknown id")
