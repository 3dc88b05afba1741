"""What explain.py is asked for, and whether it goes together."""

import argparse
import re
import sys

from stpn.engine.start_boxes import check_boxes, is_tracker, joined_boxes, parse_box
from stpn.errors import InputError
from stpn.explain import Target, check_stages, choose, find

# Options of Grad-CAM alone, and what they are where they are not given.
OF_CAM = {"against": None, "against_weights": None, "stage": ["res4"], "detection": 1, "label": None, "box": None}


def parse_arguments(description, argv=None):
    """-> Namespace; its of_cam are the options of Grad-CAM that were given, such as "--stage"."""
    args = _parser(description).parse_args(_joined(joined_boxes(sys.argv[1:] if argv is None else argv)))
    _split_off_overrides(args)
    args.of_cam = [f"--{name.replace('_', '-')}" for name in OF_CAM if getattr(args, name) is not None]
    vars(args).update((name, value) for name, value in OF_CAM.items() if getattr(args, name) is None)
    return args


def _joined(argv):
    """argv with "--box", "-5,..." as "--box=-5,...", as joined_boxes does it for --init."""
    boxes = {i for i in range(1, len(argv)) if argv[i - 1] == "--box" and re.match(r"-[\d.]", argv[i])}
    return [f"--box={text}" if i in boxes else text for i, text in enumerate(argv) if i + 1 not in boxes]


def _split_off_overrides(args):
    """--stage and --frames take several words: those from the first that looks like a KEY (stages begin with a small
    letter) are moved to args.opts. InputError for frames that are no numbers."""
    for name in ("frames", "stage"):
        words = getattr(args, name) or []
        end = next((i for i in range(1, len(words)) if re.match("[A-Z]", words[i])), len(words))
        args.opts = words[end:] + args.opts
        if words:
            setattr(args, name, words[:end])
    try:
        args.frames = [int(text) for text in args.frames]
    except ValueError:
        raise InputError(f"--frames {' '.join(args.frames)}; expected frame numbers from 0, such as 4 12") from None


def _parser(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--weights", metavar="FILE", help="instead of the config's MODEL.WEIGHTS")
    parser.add_argument("--against", metavar="FILE", help="config of the model to compare with, such as the baseline")
    parser.add_argument("--against-weights", metavar="FILE")
    parser.add_argument("--input", required=True, metavar="FILE|FOLDER|GLOB")
    parser.add_argument("--frames", nargs="+", default=[], metavar="T", help="frame numbers from 0")
    parser.add_argument("--stage", nargs="+", metavar="RES",
                        help="stages of the encoder for Grad-CAM, res2 to res5 (default res4)")
    parser.add_argument("--detection", type=int, metavar="N", help="the Nth by score (default 1)")
    parser.add_argument("--label", metavar="NAME", help="of this class")
    parser.add_argument("--box", metavar="X,Y,W,H", help="in pixels of the frame, with --label")
    parser.add_argument("--init", metavar="X,Y,W,H", help="a tracker's target in the first frame")
    parser.add_argument("--video", action="store_true", help="explain.mp4: where prompts are read in every frame")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--overwrite", action="store_true", help="replace results of an earlier run")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config overrides")
    return parser


def wish(args, names):
    """-> function (model, Explained) -> Target or None, what is to be explained in a frame."""
    if args.detection < 1:
        raise InputError(f"--detection {args.detection}; expected 1 (the surest) or more")
    if args.label is not None and args.label not in names:
        raise InputError(f"--label {args.label} is not a class of this model; its classes are {', '.join(names)}")
    label = None if args.label is None else names.index(args.label)
    if args.box is None:
        return lambda model, frame: choose(find(model, frame), number=args.detection, label=label)
    if label is None or "--detection" in args.of_cam:
        raise InputError("a --box of your own needs the class to explain, and no --detection; give --label NAME")
    x, y, w, h = parse_box(args.box)

    def own(model, frame):
        check_boxes([[x, y, w, h]], frame.item["frame"])
        return Target([x, y, x + w, y + h], label)

    return own


def check_options(args):
    """InputError for options that would do nothing, whatever the model is."""
    if not args.frames and not args.video:
        raise InputError("nothing to show: give --frames, --video, or both")
    if args.against_weights and not args.against:
        raise InputError("--against-weights are those of --against, which is not given; give --against FILE, their "
                         "config, or leave them out")
    if args.of_cam and not args.frames:
        raise InputError(f"{', '.join(args.of_cam)}: an option of Grad-CAM, which is made of --frames, but --video is "
                         "given alone; add --frames, or leave it out")


def checked(args, predictors):
    """-> the box of a tracker's target, None for other models. InputError for what does not go together."""
    models = [predictor.model for predictor in predictors]
    if models[-1].prompt_predictor is None and (args.video or is_tracker(models[-1])):
        raise InputError(f"{args.config_file} describes a model without prompts, which "
                         f"{'--video' if args.video else 'is all that is shown of a tracker'}"
                         f"{' shows' if args.video else ''}; give the config of one with them")
    if is_tracker(models[-1]):
        return _tracker_start(args)
    if args.init is not None:
        raise InputError("--init is for trackers, but this model finds its objects itself; see --box")
    if len(models) > 1 and (is_tracker(models[0]) or hasattr(models[0], "segment") != hasattr(models[1], "segment")
                            or predictors[0].class_names != predictors[1].class_names):
        raise InputError("--against is for the Grad-CAM of two detectors or two segmenters with the same classes; give "
                         "the config of such a one")
    for model in models:
        check_stages(model.backbone, args.stage)
    return None


def _tracker_start(args):
    if args.init is None:
        raise InputError("a tracker needs --init x,y,w,h, the box of its target in the first frame")
    if args.of_cam:
        raise InputError(f"{', '.join(args.of_cam)}: an option of Grad-CAM, which is not shown of trackers: they "
                         "have no classes; leave it out")
    if len(args.frames) > 1:
        raise InputError(f"--frames {' '.join(map(str, args.frames))}: of a tracker one frame is shown; give one "
                         "number")
    return parse_box(args.init)
