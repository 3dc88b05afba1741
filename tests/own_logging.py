"""For tests that run a whole script in this process."""

import contextlib
import logging

from detectron2.utils.logger import setup_logger


@contextlib.contextmanager
def own_logging():
    """Take away the handlers that a run adds, and let messages propagate again."""
    loggers = [logging.getLogger(name) for name in ("detectron2", "fvcore", "stpn")]
    before = [(list(log.handlers), log.propagate, log.level) for log in loggers]
    try:
        yield
    finally:
        for log, (handlers, log.propagate, log.level) in zip(loggers, before, strict=True):
            log.handlers[:] = handlers
        setup_logger.cache_clear()
