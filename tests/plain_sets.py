"""Small data sets in the plain format, for tests: videos as folders and as files, and their JSON."""

import copy
import json
from fractions import Fraction

import av
import cv2
import numpy as np

LOSSLESS = {"codec": "ffv1", "pix_fmt": "bgr0", "options": {"level": "3", "g": "4"}}


def pictures(count, *, size=(48, 64), seed=0):
    """(H, W, 3) RGB pictures, each unlike the others, with a bright square that moves two pixels a frame."""
    base = np.random.default_rng(seed).integers(0, 120, (*size, 3), dtype=np.uint8)
    found = []
    for i in range(count):
        image = np.roll(base, 5 * i, axis=1)
        image[10:30, 4 + 2 * i : 24 + 2 * i] = (250, 40 + 3 * i, 20 * seed % 250)
        found.append(image)
    return found


def write_folder(folder, images, *, start=1):
    """000001.png and on."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images, start):
        cv2.imwrite(str(folder / f"{i:06d}.png"), image[:, :, ::-1])
    return folder


def write_file(path, images, *, codec="libx264", pix_fmt="yuv420p", options=None, rotation=0, times=None):
    """A video file of RGB pictures; times: of each picture in milliseconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if rotation:
            stream.set_display_rotation(rotation)
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, image in enumerate(images):
            picture = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pix_fmt)
            if times:
                picture.pts, picture.time_base = times[i], Fraction(1, 1000)
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
    return path


def content(*videos, labelled=3):
    """JSON content: each of the videos (file names) with its first `labelled` frames, one box each, two classes."""
    images = [(n, i) for n in range(len(videos)) for i in range(labelled)]
    return {
        "categories": [{"id": 4, "name": "cup"}, {"id": 2, "name": "ball"}],
        "videos": [{"id": n + 1, "file_name": name} for n, name in enumerate(videos)],
        "images": [{"id": k + 10, "video_id": n + 1, "frame_index": i} for k, (n, i) in enumerate(images)],
        "annotations": [
            {"id": k + 1, "image_id": k + 10, "category_id": 4 if n % 2 else 2, "track_id": 1,
             "bbox": [4.0 + 2 * i, 10.0, 20.0, 20.0]} for k, (n, i) in enumerate(images)],
    }  # fmt: skip


def write_json(path, what):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(what), encoding="utf-8")
    return path


def changed(what, **places):
    """A copy of JSON content in which table__index__key=value are set (value Ellipsis: the key is taken out)."""
    what = copy.deepcopy(what)
    for place, value in places.items():
        table, index, key = place.split("__")
        row = what[table][int(index)]
        if value is ...:
            del row[key]
        else:
            row[key] = value
    return what
