#!/usr/bin/env python3
"""Train or evaluate a video model.

    train_net.py --config-file configs/stpn_vid_swint.yaml --num-gpus 8
    train_net.py --config-file configs/stpn_vid_swint.yaml --resume
    train_net.py --config-file configs/stpn_vid_swint.yaml --eval-only MODEL.WEIGHTS model.pth

detectron2's options; KEY VALUE pairs at the end override the configuration. --num-gpus 2 with
MODEL.DEVICE cpu starts two processes that talk over gloo. --eval-only --resume evaluates the newest
checkpoint in OUTPUT_DIR. An evaluation of a tracker that was interrupted goes on at the sequence it
stopped in: give the same command again. Your own videos (datasets/README.md) need no code:

    train_net.py --config-file configs/stpn_vid_swint.yaml MODEL.ROI_HEADS.NUM_CLASSES 3
        DATASETS.TRAIN "('my_set/train',)" DATASETS.TEST "('my_set/val',)"
"""

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
from detectron2.engine import default_argument_parser, default_setup, launch
from detectron2.evaluation import verify_results
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from stpn.data.agreement import check_data_sets
from stpn.data.builtin import register_all
from stpn.engine.checkpoint import SafeCheckpointer, load_weights
from stpn.engine.config_file import load_config
from stpn.engine.devices import prepare_devices
from stpn.engine.trainer import Trainer
from stpn.errors import InputError, run_script


def parse_arguments(argv=None):
    parser = default_argument_parser(epilog=__doc__)
    parser.add_argument("--allow-partial", action="store_true",
                        help="evaluate weights that match only a part of the model")
    parser.add_argument("--allow-missing", action="store_true",
                        help="train without the labelled frames whose files are not there")
    args = parser.parse_args(argv)
    if args.allow_missing:
        args.opts = [*args.opts, "DATALOADER.ALLOW_MISSING", "True"]
    return args


def evaluate(cfg, args):
    check_data_sets(cfg, training=False)
    model = Trainer.build_model(cfg)
    saved = SafeCheckpointer(model, cfg.OUTPUT_DIR).get_checkpoint_file() if args.resume else ""
    if args.resume and not saved:
        raise InputError(f"--resume, but {cfg.OUTPUT_DIR} holds no checkpoint; drop --resume to evaluate MODEL.WEIGHTS")
    load_weights(model, saved or cfg.MODEL.WEIGHTS, allow_partial=args.allow_partial)
    results = Trainer.test(cfg, model)  # prints them
    if comm.is_main_process():
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
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="stpn")
    if args.eval_only:
        evaluate(cfg, args)
        return
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    trainer.train()


def main(argv=None):
    args = parse_arguments(argv)
    device = load_config(args.config_file, args.opts).MODEL.DEVICE  # errors show before any process starts
    prepare_devices(device, args.num_gpus, machines=args.num_machines)
    launch(one_process, args.num_gpus, num_machines=args.num_machines, machine_rank=args.machine_rank,
           dist_url=args.dist_url, args=(args,))


if __name__ == "__main__":
    run_script(main)
