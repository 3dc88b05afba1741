#!/usr/bin/env python3
"""Weights of other projects -> a .safetensors file for MODEL.WEIGHTS, verified by a forward before it is written.

    convert_weights.py --config-file configs/stpn_vid_swint.yaml mask_rcnn_swin_tiny.pth swint_coco.safetensors
    convert_weights.py --config-file configs/stpn_vid_swint.yaml timm:swin_tiny_patch4_window7_224 swint.safetensors
    convert_weights.py --config-file configs/baseline_vid_swint.yaml faster_rcnn.pth model.safetensors --part model
    convert_weights.py --config-file configs/stpn_got10k_cvt21.yaml CvT-21-384x384-IN-22k.pth cvt21.safetensors
    convert_weights.py --config-file configs/baseline_got10k_cvt21_score.yaml mixformer.pth.tar tracker.safetensors

Known: Swin of timm (by name: timm downloads it), of Microsoft, of mmdetection; mmdetection's whole Faster R-CNN with
FPN; STPN's released checkpoints, with SELSA and without; Microsoft's CvT; MixFormer's trackers with CvT.
Exit codes: 0 written, 2 refused (nothing is written).
"""

import argparse

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
from stpn.engine.config_file import load_config
from stpn.engine.convert.convert import PARTS, convert
from stpn.engine.convert.source import KINDS
from stpn.errors import run_script


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE", help="the model that the weights are for")
    parser.add_argument("source", help="a weight file, or timm:NAME")
    parser.add_argument("output", help="the .safetensors file to write")
    parser.add_argument("--kind", choices=("auto", *KINDS), default="auto",
                        help="whose names the source has (default: found out); another kind is refused")
    parser.add_argument("--part", choices=PARTS,
                        help="the encoder alone, to train from, or the whole detector or tracker, to use (default: the "
                             "whole for STPN's released checkpoints and MixFormer's, else the encoder)")
    parser.add_argument("--box-stds", type=float, nargs=4, metavar=("DX", "DY", "DW", "DH"),
                        help="mmdetection's target_stds of the box head (default: what the file says, else .2 .2 .2 .2 "
                             "for STPN's checkpoints and .1 .1 .2 .2 for others)")
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it is there")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="config overrides")
    return parser.parse_intermixed_args(argv)


def main(argv=None):
    args = parse_arguments(argv)
    cfg = load_config(args.config_file, args.opts)
    lines = convert(args.source, args.output, cfg, kind=args.kind, part=args.part, box_stds=args.box_stds,
                    overwrite=args.overwrite, config_name=" ".join([args.config_file, *args.opts]))
    print("\n".join(lines))


if __name__ == "__main__":
    run_script(main)
