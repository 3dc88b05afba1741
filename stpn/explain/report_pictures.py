"""The pictures of the toy set's report: made by the scripts, chosen by the rule of examples.py."""

import json
from typing import NamedTuple

import cv2
from detectron2.data import DatasetCatalog, MetadataCatalog

from ..data.builtin import ensure_registered
from .captions import caption
from .examples import MODELS, first_examples, found_alone, frames_of_groups, sheet, video_frame
from .pictures import grid

LOOKED_AT = 20  # videos of which examples are taken
WANTED = "deteriorated"
_WIDTH = 900  # pixels of a sheet, so that a README shows it as it is
_QUALITY = 88  # of JPEG: a sheet of heat maps has a tenth of the PNG's bytes
_NAMES = {"model": "STPN", "against": "the baseline"}


class Picture(NamedTuple):
    """key: of what is said of it by hand; files: {file name: bytes}; caption: what is in the picture."""

    key: str
    title: str
    files: dict
    caption: str


class Task(NamedTuple):
    """layout, folder: as make_toy.py knows them; model, against: names of configurations in configs/toy."""

    title: str
    layout: str
    folder: str
    model: str
    against: str

    @property
    def dataset(self):
        return f"{self.folder}_val"

    @property
    def configs(self):
        return ["--config-file", f"configs/toy/{self.model}.yaml", "--against", f"configs/toy/{self.against}.yaml"]


TASKS = {
    "boxes": Task("Boxes", "vid", "toy_vid", "stpn", "baseline"),
    "masks": Task("Masks", "ytvis", "toy_ytvis", "vis_stpn", "vis_baseline"),
    "tracks": Task("Tracks", "got10k", "toy_got10k", "vot_stpn_score", "vot_baseline_score"),
}


def prepared_sets(run, *, videos, seed):
    """run: as toy_report.py has it. -> {name of a task: {video id: {group: set of frames}}} of its validation set."""
    sets = {}
    for name, task in TASKS.items():
        run("make_toy.py", "--layout", task.layout, "--output", run.datasets / task.folder, "--split", "val",
            "--videos", videos, "--seed", seed, log=f"make_{task.folder}")
        ensure_registered([task.dataset])
        dicts = DatasetCatalog.get(task.dataset)
        sets[name] = frames_of_groups(dicts, MetadataCatalog.get(task.dataset).frame_groups)
    return sets


def compared(run, sets):
    """-> (pictures, {task: {one of MODELS: [(video id, frame), ...]}}), from compare.py."""
    pictures, examples = [], {}
    for name, task in TASKS.items():
        examples[name], asked = first_examples(_lines(run, name, task, sets[name]))
        for by, found in examples[name].items():
            if found:
                text = caption("compare", **_counts(run, name, asked, sets[name]))
                pictures.append(Picture(f"{name}_{by}", f"{task.title}: {_NAMES[by]} alone finds the object",
                                        {f"{name}_{by}.jpg": _jpeg(_sheet(run, name, found, sets[name]))}, text))
    return pictures, examples


def _counts(run, name, asked, videos):
    """-> how often, in the videos that were looked at, one of both alone finds an object."""
    wanted = {video_id: videos[video_id].get(WANTED, set()) for video_id in asked}
    alone = {by: sum(len(found_alone(_read_lines(_folder(run, name, v)), by, frames)) for v, frames in wanted.items())
             for by in MODELS}
    return {"videos": len(asked), "frames": sum(map(len, wanted.values())), **alone}


def _sheet(run, name, found, videos):
    pictures = [video_frame(str(_made(_folder(run, name, video_id), ".mp4")), t) for video_id, t in found]
    titles = [f"{video_id}, frame {t}: {_kind(videos[video_id], t)}" for video_id, t in found]
    return sheet(pictures, titles, width=_WIDTH)


def _lines(run, name, task, videos):
    """Yield (video id, lines of compare.py, frames of WANTED) of the first videos; compare.py runs when asked for."""
    for video_id in list(videos)[:LOOKED_AT]:
        folder = _folder(run, name, video_id)
        if not (_made(folder, ".jsonl") and _made(folder, ".mp4")):
            run("compare.py", *task.configs, "--dataset", task.dataset, "--video", video_id, "--output", folder,
                "--overwrite", log=f"compare_{name}_{folder.name}")
        yield video_id, _read_lines(folder), videos[video_id].get(WANTED, set())


def _folder(run, name, video_id):
    return run.work / "pictures" / f"compare_{name}" / video_id.rsplit("/", 1)[-1]


def _made(folder, suffix):
    """-> the whole file with that suffix, None while there is none: what a killed run left is called .tmp."""
    return next((path for path in folder.glob(f"*{suffix}") if not path.stem.endswith(".tmp")), None)


def _read_lines(folder):
    return [json.loads(line) for line in _made(folder, ".jsonl").read_text().splitlines()]


def _kind(groups, t):
    kinds = [group.replace("_", " ") for group, frames in groups.items() if t in frames and group != WANTED]
    return kinds[0] if kinds else "not grouped"


def explained(run, examples):
    """examples: of compared. -> pictures of explain.py, of the detectors."""
    pictures = []
    for by, found in examples["boxes"].items():
        columns = [_read(_explain(run, f"grad_cam_{by}_{i}", video_id, t) / "grad_cam.png")
                   for i, (video_id, t) in enumerate(found)]
        if columns:
            pictures.append(Picture(f"grad_cam_{by}", f"Grad-CAM where {_NAMES[by]} alone finds the object",
                                    {f"grad_cam_{by}.jpg": _jpeg(grid([columns]))}, caption("grad_cam")))
    return pictures + (_readings(run, *examples["boxes"]["model"][0]) if examples["boxes"]["model"] else [])


def _readings(run, video_id, t):
    """With two support frames a side, as fourteen would be too small to see."""
    folder = _explain(run, "reading", video_id, t, "INPUT.SUPPORT.FRAMES_PER_SIDE", 2)
    titles = {"support_reading": "What each prompt reads", "prompt_reading": "Where each prompt is read"}
    return [Picture(key, title, {f"{key}.jpg": _jpeg(_read(folder / f"{key}.png"))},
                    caption(key, video_id=video_id, frame=t)) for key, title in titles.items()]


def _explain(run, name, video_id, t, *options):
    folder = run.work / "pictures" / name
    if not (folder / "explain.json").is_file():
        run("explain.py", *TASKS["boxes"].configs, "--input", run.datasets / "toy_vid/Data/VID" / video_id, "--frames",
            t, "--output", folder, "--overwrite", *options, log=name)
    return folder


def embedded(run):
    """-> the picture of embed.py."""
    folder = run.work / "pictures" / "embed"
    if not (folder / "embed.json").is_file():
        run("embed.py", *TASKS["boxes"].configs, "--dataset", TASKS["boxes"].dataset, "--split-by",
            f"clean,{WANTED}", "--output", folder, "--overwrite", log="embed")
    return Picture("embed", "Object features by class", {"embed.png": (folder / "embed.png").read_bytes()},
                   caption("embed"))


def _read(path):
    return cv2.imread(str(path))[:, :, ::-1]


def _jpeg(picture):
    """uint8 (H, W, 3) RGB, made smaller if it is wider than _WIDTH -> bytes."""
    if picture.shape[1] > _WIDTH:
        size = _WIDTH, round(picture.shape[0] * _WIDTH / picture.shape[1])
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
