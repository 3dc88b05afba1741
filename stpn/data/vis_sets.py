"""The sets of video instance segmentation known by name: where their JSON files and pictures are.

    ytvis_2019/{train,valid,test,train_sub,val_sub}.json      pictures: {train,valid,test}/JPEGImages/
    ovis/annotations/annotations_{train,...}.json             pictures: {train,valid,test}/
"""

from typing import NamedTuple

from ..errors import InputError
from .datasets import load_ytvis
from .datasets.image_sets import data_folder
from .datasets.ytvis import read_ytvis_categories
from .toy_scene import CLASSES as TOY_CLASSES

# Names in the order of the category ids 1, 2, ...
CLASSES_2019 = (
    "person", "giant_panda", "lizard", "parrot", "skateboard", "sedan", "ape", "dog", "snake", "monkey", "hand",
    "rabbit", "duck", "cat", "cow", "fish", "train", "horse", "turtle", "bear", "motorbike", "giraffe", "leopard",
    "fox", "deer", "owl", "surfboard", "airplane", "truck", "zebra", "tiger", "elephant", "snowboard", "boat",
    "shark", "mouse", "frog", "eagle", "earless_seal", "tennis_racket")


class VisEntry(NamedTuple):
    """folder: below DETECTRON2_DATASETS; part: of the set, begins the video ids; files: JSON files relative to the
    folder, the first that exists counts; pictures: folder that their file_names are relative to; classes: the names
    where the folder is not there to say them, None: not known then."""

    folder: str
    part: str
    files: tuple
    pictures: str
    classes: tuple | None = None

    evaluator_type = "ytvis"

    def json_file(self):
        """-> Path. FileNotFoundError with what was looked for."""
        root = data_folder() / self.folder
        for name in self.files:
            if (root / name).is_file():
                return root / name
        advice = ("make it from train.json with datasets/prepare_ytvis_split.py" if self.part.endswith("_sub") else
                  "put or link the set there or set DETECTRON2_DATASETS to the folder above it")
        raise FileNotFoundError(f"annotation file not found: {' or '.join(str(root / name) for name in self.files)}; "
                                f"{advice}; see datasets/README.md for the expected tree")

    def read(self, *, video_index):
        return load_ytvis(self.json_file(), data_folder() / self.folder / self.pictures,
                          name=f"{self.folder}/{self.part}", video_index=video_index)

    def known_classes(self):
        """-> list of class names, None where they are not known."""
        try:
            return read_ytvis_categories(self.json_file())
        except (FileNotFoundError, InputError):  # the loading of the set says what is wrong with the file
            return None if self.classes is None else list(self.classes)


# Part of a set -> (stem of its file, folder of its pictures). The labels of the official val and test parts are
# hidden: train_sub and val_sub are train divided by datasets/prepare_ytvis_split.py.
_PARTS = {"train": ("train", "train"), "val": ("valid", "valid"), "test": ("test", "test"),
          "train_sub": ("train_sub", "train"), "val_sub": ("val_sub", "train")}


def _youtube(folder, part, classes=None, *, official=False):
    stem, pictures = _PARTS[part]
    # The archives of 2021 hold <split>/instances.json, which most users rename.
    files = (f"{stem}.json", f"{stem}/instances.json") if official and stem == pictures else (f"{stem}.json",)
    return VisEntry(folder, part, files, f"{pictures}/JPEGImages", classes)


VIS_ENTRIES = {
    **{f"ytvis_2019_{part}": _youtube("ytvis_2019", part, CLASSES_2019) for part in _PARTS},
    **{f"ytvis_2021_{part}": _youtube("ytvis_2021", part, official=True) for part in _PARTS},
    **{f"ovis_{part}": VisEntry("ovis", part, (f"annotations/annotations_{stem}.json",), pictures)
       for part, (stem, pictures) in _PARTS.items()},
    # A small set of real video, for tests and first trials.
    **{f"ytvis_mini_{part}": _youtube("ytvis_mini", part, CLASSES_2019) for part in ("train", "val")},
    # The generated set, and its stills (videos of one frame) for the common start.
    **{f"toy_ytvis_{part}": _youtube("toy_ytvis", part, TOY_CLASSES) for part in ("train", "val")},
    "toy_ytvis_still": VisEntry("toy_ytvis", "still", ("still.json",), "still/JPEGImages", TOY_CLASSES),
}
