"""The GPUs of this machine: how many there are, and which of them a process may use."""

import os

import torch

from ..errors import InputError

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def prepare_devices(device, processes, *, machines=1):
    """Before so many processes start on this machine, each to train on `device` ("cuda" or "cpu"). InputError where
    there are fewer GPUs."""
    if device.startswith("cuda"):
        found = torch.cuda.device_count()
        if found < processes:
            raise InputError(f"MODEL.DEVICE is {device} and --num-gpus {processes}, but there are {found} GPUs that "
                             "torch can use; add MODEL.DEVICE cpu, or lower --num-gpus")
    elif processes * machines > 1:
        os.environ[_VISIBLE] = ""  # launch() takes NCCL, which knows no CPU, where it sees a GPU


def device_shares(count, size):
    """-> `count` environments, each with `size` GPUs of its own; without GPUs they change nothing. InputError where
    there are GPUs, but not enough for each."""
    given = os.environ.get(_VISIBLE)
    names = [name for name in given.split(",") if name.strip()] if given is not None else [
        str(i) for i in range(torch.cuda.device_count())]
    if not names:
        return [{}] * count
    if len(names) < count * size:
        raise InputError(f"{count} processes of {size} GPUs each, but {len(names)} GPUs are visible; lower --processes "
                         "or --num-gpus")
    return [{_VISIBLE: ",".join(names[i * size:(i + 1) * size])} for i in range(count)]
