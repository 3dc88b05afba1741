"""Folders that lie outside the repository. Both are optional: without them the tests that need them are skipped."""

import logging
import os
from pathlib import Path

import pytest


def _folder(variable, what):
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: it names the folder of {what}")
    if not Path(value).is_dir():
        pytest.skip(f"{variable}={value} is not a folder: it should hold {what}")
    return Path(value).resolve()


@pytest.fixture(scope="session")
def fixtures_dir():
    return _folder("STPN_FIXTURES", "recorded outputs of the published systems")


@pytest.fixture(scope="session")
def sample_data_dir():
    return _folder("STPN_SAMPLE_DATA", "small real video sets (vid_mini, clips)")


@pytest.fixture(autouse=True)
def our_log_reaches_pytest():
    """detectron2's setup_logger, which train_net calls, cuts a logger off from its parents for good; datasets/check.py
    makes it silent."""
    logging.getLogger("stpn").propagate = True
    logging.getLogger("stpn").setLevel(logging.NOTSET)
