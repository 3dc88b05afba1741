"""Processes beside each other share the visible GPUs out among them."""

import os

import pytest
import torch

from stpn.engine.devices import device_shares, prepare_devices
from stpn.errors import InputError


@pytest.mark.parametrize("visible, count, size, shares", [
    ("4,5,6,7", 2, 2, ["4,5", "6,7"]), ("0,1,2", 3, 1, ["0", "1", "2"]), ("GPU-a,GPU-b,GPU-c", 1, 2, ["GPU-a,GPU-b"])])
def test_each_process_has_gpus_of_its_own(monkeypatch, visible, count, size, shares):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert device_shares(count, size) == [{"CUDA_VISIBLE_DEVICES": share} for share in shares]


def test_all_gpus_are_shared_where_none_are_chosen(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [share["CUDA_VISIBLE_DEVICES"] for share in device_shares(4, 1)] == ["0", "1", "2", "3"]


def test_without_gpus_processes_change_nothing(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert device_shares(3, 1) == [{}, {}, {}]


def test_too_few_gpus_are_told_before_anything_starts(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    with pytest.raises(InputError, match="2 processes of 2 GPUs each, but 3 GPUs"):
        device_shares(2, 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="--num-gpus 2, but there are 1 GPUs"):
        prepare_devices("cuda", 2)
    prepare_devices("cuda", 1)


def test_processes_on_the_cpu_see_no_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    prepare_devices("cpu", 1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    prepare_devices("cpu", 1, machines=2)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
