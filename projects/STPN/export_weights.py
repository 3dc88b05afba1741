#!/usr/bin/env python3
"""A training checkpoint -> model weights alone, in half precision, as safetensors.

    export_weights.py output/toy/stpn/model_final.pth projects/STPN/weights/toy_stpn.safetensors
"""

import argparse

from stpn.engine.checkpoint import export_safetensors, read_checkpoint
from stpn.errors import InputError, run_script


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a checkpoint of train_net.py")
    parser.add_argument("output", help="the .safetensors file to write")
    args = parser.parse_args()
    content = read_checkpoint(args.checkpoint)
    if "model" not in content:
        raise InputError(f"{args.checkpoint} holds {', '.join(map(str, content))[:80]}; expected 'model'")
    export_safetensors(content["model"], args.output, half=True)


if __name__ == "__main__":
    run_script(main)
