"""A list of ImageNet VID's layout -> the plain video format."""

from pathlib import Path

from ..datasets import frame_xml, image_sets
from ..datasets.imagenet_vid import read_classes, read_list
from .converting import PlainSet, chosen, relative
from .frames import frame_numbers


def convert_imagenet_vid(root, name, output, *, classes=None):
    """-> PlainSet.

    root: folder with Data, Annotations and ImageSets; name: of the list, without .txt; classes: names to keep,
    default the set's own. Frames, boxes (width x2 - x1, clipped and dropped by the same rule) and tracks are those
    of load_imagenet_vid.
    """
    root = Path(root)
    path, text = read_list(root, (name,))
    frames = image_sets.read_frames(text, path, root / "Data" / "VID")
    table = read_classes(root)
    plain = PlainSet(chosen(classes, table.values()))
    frames.sort(key=lambda frame: frame.image_id)
    for video_id, listed in _by_video(frames).items():
        _add_video(plain, root, video_id, listed, table, output)
    return plain


def _by_video(frames):
    videos = {}
    for frame in frames:
        videos.setdefault(frame.video_id, []).append(frame)
    return videos


def _add_video(plain, root, video_id, frames, table, output):
    """Frames are named by their number; the plain format wants the position among the pictures that are there."""
    folder = root / "Data" / "VID" / video_id
    positions = frame_numbers(folder)
    there = [frame for frame in frames if frame.frame_index in positions]
    plain.dropped["frames that have no picture"] += len(frames) - len(there)
    read = [frame_xml.read_file(f"{root}/Annotations/VID/{video_id}/{frame.frame_index:06d}.xml") for frame in there]
    if not there:
        return
    video = plain.add_video(relative(folder, output), length=len(positions))
    for frame, (size, objects) in zip(there, read, strict=True):
        image = plain.add_frame(video, positions[frame.frame_index], size=size)
        for found in objects:
            corners = frame_xml.clip(found.corners, size)
            if corners is None:
                plain.dropped["boxes that are empty, outside their picture or not finite"] += 1
                continue
            plain.add_box(image, table.get(found.name, found.name), corners, occluded=found.occluded,
                          track=found.track if found.track >= 0 else None, generated=found.generated)
