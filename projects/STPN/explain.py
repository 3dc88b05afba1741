#!/usr/bin/env python3
"""Why a model finds what it finds in a video: Grad-CAM of its encoder, what its prompts read, and where they are read.

    explain.py --config-file configs/toy/stpn.yaml --input clip.mp4 --frames 4 12 20 --output output/explain
        --against configs/toy/baseline.yaml --stage res4 res5

grad_cam.png: the frames with what the model finds surest; below, for each stage, the heat of --against (the baseline)
for that box and class, and the model's own (Figure 6 of the paper). Another detection: --detection 2 (the second
surest), --label NAME (the surest of a class), or --box X,Y,W,H with --label, a box of your own, such as one that a
model misses. Of a segmenter the class score is that of the mask's query in that frame. support_reading.png: of the
first of the frames, how much each prompt reads of each part of its support frames. prompt_reading.png: which parts of
that frame read each prompt, in the last block of each stage. explain.json: boxes, scores and shares as numbers.
--video: explain.mp4, where prompts are read in every frame.

Detectors and segmenters; of a tracker (--init X,Y,W,H as in demo.py) what concerns prompts. What a model does not have
is left out with a line that says so.
"""

import contextlib
import json
import logging
from pathlib import Path

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
from explain_arguments import check_options, checked, parse_arguments, wish
from explain_frames import collect, walk

from stpn.data.source import open_source
from stpn.engine.config_file import load_config
from stpn.engine.predictor import VideoPredictor
from stpn.engine.results import prepare_output
from stpn.engine.video_writer import VideoWriter
from stpn.errors import InputError, atomic_path, run_script
from stpn.explain import block_names, class_score, grad_cam, prompt_reading, support_reading
from stpn.explain.pictures import png
from stpn.explain.sheets import Column, ReadingFilm, cam_sheet, prompt_sheet, support_sheet

FILES = ("grad_cam.png", "support_reading.png", "prompt_reading.png", "explain.json", "explain.mp4")


def cam_columns(args, models, frames, names, target_of):
    """frames: for each model its list of Explained; target_of: see wish. -> (columns of the sheet, numbers of each
    frame)."""
    columns, numbers = [], []
    for pair in zip(*frames, strict=True):
        own = pair[-1]
        target = target_of(models[-1], own)
        if target is None:
            columns.append(Column(f"frame {own.t}: {missed(args)} found", own.picture, None, []))
            numbers.append({"frame": own.t, "detection": None})
            continue
        cams = cams_of(args, models, pair, target)
        heats = [(f"{stage}, {side}: logit {logit:.1f}", maps[stage]) for stage in args.stage
                 for side, (maps, logit) in cams.items()]
        said = "the box given" if target.score is None else f"{target.score:.0%}"
        columns.append(Column(f"frame {own.t}: {names[target.label]}, {said}", own.picture, target, heats))
        numbers.append({"frame": own.t, "detection": {
            "label": names[target.label], "score": target.score, "box": target.box,
            "logits": {side: logit for side, (_, logit) in cams.items()}}})
    return columns, numbers


def cams_of(args, models, pair, target):
    """pair: Explained of each model. -> {"against" (if there are two), "model": (heat of each stage, logit)}."""
    cams = {}
    for side, model, frame in zip(("against", "model")[-len(models):], models, pair, strict=True):
        # The number of a query says nothing about another model's queries.
        sought = target if side == "model" else target._replace(query=None)
        cams[side] = grad_cam(model, frame.item, score=class_score(model, frame, sought), stages=args.stage,
                              prompts=frame.prompts)
    return cams


def missed(args):
    return f"no {args.label or 'detection'}" + f" number {args.detection}" * (args.detection > 1)


def readings(model, frame, notes):
    """-> ({file name: picture}, numbers) of a frame with prompts; what cannot be shown is noted."""
    maps = prompt_reading(model.backbone, frame.images, frame.prompts, **frame.context or {})
    sheets = {"prompt_reading.png": prompt_sheet(maps, block_names(model.backbone), frame)}
    told = {"frame": frame.t, "patches_read_prompts": [m.mean((1, 2)).tolist() for m in maps]}
    if frame.supports is None:
        notes.append("support_reading.png is left out: these prompts come from the templates, not from frames")
        return sheets, told
    try:
        reads = support_reading(model.prompt_predictor, frame.supports.maps)
    except InputError as error:
        notes.append(f"support_reading.png is left out: {error}")
        return sheets, told
    sheets["support_reading.png"], shares = support_sheet(reads, frame.supports)
    told |= {"support_frames": list(shares), "prompt_reads_frame": [list(row) for row in zip(*shares.values())]}
    return sheets, told


def write_film(predictor, args, start, path):
    """explain.mp4, frame by frame: memory does not grow with the video."""
    model, film = predictor.model, ReadingFilm(block_names(predictor.model.backbone))
    with open_source(args.input) as source, VideoWriter(path, fps=source.fps) as video, \
            contextlib.closing(walk(predictor, source, None, start)) as frames:
        for frame in frames:
            maps = prompt_reading(model.backbone, frame.images, frame.prompts, **frame.context or {})
            video.write(film.picture(maps, frame), frame.item["frame"].time)


def sheets_of(args, predictors, start, target_of):
    """-> ({file name: bytes}, what was left out) of --frames. start: box of a tracker's target."""
    models, notes = [predictor.model for predictor in predictors], []
    frames = [collect(predictor, args.input, args.frames, start) for predictor in predictors]
    content, numbers = {}, {"stages": args.stage, "frames": []}
    if start is None:
        columns, numbers["frames"] = cam_columns(args, models, frames, predictors[-1].class_names, target_of)
        content["grad_cam.png"] = cam_sheet(columns)
    else:
        notes.append("grad_cam.png is left out: a tracker has no classes to explain")
    if models[-1].prompt_predictor is not None:
        sheets, numbers["prompts"] = readings(models[-1], frames[-1][0], notes)
        content |= sheets
    files = {name: png(picture) for name, picture in content.items()}
    return {**files, "explain.json": json.dumps(numbers, indent=1).encode()}, notes


def models_of(args):
    """-> VideoPredictor of --against, if it is given, and of the model."""
    asked = [(args.against, args.against_weights)] if args.against else []
    asked.append((args.config_file, args.weights))
    return [VideoPredictor(load_config(config, args.opts), weights=weights) for config, weights in asked]


def write_files(content, paths):
    """content: {file name: bytes}; paths: {file name: where}."""
    for name, data in content.items():
        with atomic_path(paths[name]) as part:
            part.write_bytes(data)


def main(argv=None):
    args = parse_arguments(__doc__, argv)
    check_options(args)
    logging.basicConfig(format="%(message)s")
    predictors = models_of(args)
    start, target_of = checked(args, predictors), wish(args, predictors[-1].class_names)
    paths = dict(zip(FILES, prepare_output(args.output, FILES, overwrite=args.overwrite, source=args.input),
                     strict=True))
    made = []
    if args.frames:
        content, notes = sheets_of(args, predictors, start, target_of)
        print(*notes, sep="\n", end="\n" * bool(notes))
        write_files(content, paths)
        made += content
    if args.video:
        write_film(predictors[-1], args, start, paths["explain.mp4"])
        made.append("explain.mp4")
    for name in set(FILES) - set(made):  # of an earlier run that --overwrite replaces
        Path(paths[name]).unlink(missing_ok=True)
    print("files:", ", ".join(str(Path(paths[name])) for name in made))


if __name__ == "__main__":
    run_script(main)
