"""Small sets in GOT-10k's layout, and results on them."""

import numpy as np
from PIL import Image

from stpn.data.datasets import load_got10k
from stpn.data.video import VideoIndex

SIZE = (64, 48)  # width, height


def lines(table, form="%.4f"):
    return "".join(",".join(form % value for value in row) + "\n" for row in table)


def write_sequence(folder, boxes, *, absence=None, cover=None, pictures=True, meta=True, size=SIZE):
    folder.mkdir(parents=True)
    for number in range(1, len(boxes) + 1) if pictures else ():
        Image.new("RGB", size, (number, 0, 0)).save(folder / f"{number:08d}.jpg")
    (folder / "groundtruth.txt").write_text(lines(boxes))
    for name, flags in (("absence", absence), ("cover", cover)):
        if flags is not None:
            (folder / f"{name}.label").write_text("".join(f"{flag}\n" for flag in flags))
    if meta:
        (folder / "meta_info.ini").write_text(f"[METAINFO]\nurl: http://x.org: y\nobject_class: \nresolution: {size}\n")


def random_boxes(rng, length):
    """-> (length, 4) XYWH; some reach out of the frame on every side."""
    return np.concatenate([rng.uniform(-10, 50, (length, 2)), rng.uniform(1, 40, (length, 2))], axis=1)


def write_set(folder, lengths, *, seed=0, **options):
    """-> the names of the sequences, S1, S2, ..."""
    rng, names = np.random.default_rng(seed), [f"S{number}" for number in range(1, len(lengths) + 1)]
    for name, length in zip(names, lengths, strict=True):
        labels = {"absence": rng.integers(0, 2, length), "cover": rng.integers(0, 9, length)}
        write_sequence(folder / name, np.abs(random_boxes(rng, length)) + 1, **{**labels, **options})
    (folder / "list.txt").write_text("".join(f"{name}\n" for name in names))
    return names


def load(folder, *, name="x/val", **options):
    """-> (records, metadata, VideoIndex)."""
    index = VideoIndex()
    return *load_got10k(folder, name=name, video_index=index, **options), index
