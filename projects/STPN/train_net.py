#!/usr/bin/env python3
"""Train or evaluate a video model.

    train_net.py --config-file configs/stpn_vid_swint.yaml --num-gpus 8
    train_net.py --config-file configs/stpn_vid_swint.yaml --resume
    train_net.py --config-file configs/stpn_vid_swint.yaml --eval-only MODEL.WEIGHTS model.pth

detectron2's options; KEY VALUE pairs at the end override the configuration. --num-gpus 2 with
MODEL.DEVICE cpu starts two processes that talk over gloo.
"""

from detectron2.engine import default_argument_parser, default_setup, launch
from detectron2.evaluation import print_csv_format, verify_results
from detectron2.utils import comm

import stpn  # noqa: F401  registers encoders and tasks
from stpn.data.builtin import register_all
from stpn.engine.checkpoint import load_weights
from stpn.engine.config_file import load_config
from stpn.engine.trainer import Trainer
from stpn.errors import run_script


def parse_arguments():
    parser = default_argument_parser(epilog=__doc__)
    parser.add_argument("--allow-partial", action="store_true",
                        help="evaluate weights that match only a part of the model")
    return parser.parse_args()


def evaluate(cfg, args):
    model = Trainer.build_model(cfg)
    load_weights(model, cfg.MODEL.WEIGHTS, allow_partial=args.allow_partial)
    results = Trainer.test(cfg, model)
    if comm.is_main_process():
        print_csv_format(results)
        verify_results(cfg, results)
    return results


def one_process(args):
    if args.num_gpus * args.num_machines > 1:
        run_script(lambda: work(args))  # the exit code of a child says why it ended
    else:
        work(args)


def work(args):
    cfg = load_config(args.config_file, args.opts)
    register_all()
    cfg.freeze()
    default_setup(cfg, args)
    if args.eval_only:
        evaluate(cfg, args)
        return
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    trainer.train()


def main():
    args = parse_arguments()
    load_config(args.config_file, args.opts)  # its errors show before any process starts
    launch(one_process, args.num_gpus, num_machines=args.num_machines, machine_rank=args.machine_rank,
           dist_url=args.dist_url, args=(args,))


if __name__ == "__main__":
    run_script(main)
