"""Errors that users cause, and how scripts end because of them. A leaf: imports nothing of stpn.

Exit codes: 0 done, 1 internal, 2 bad input or usage, 3 partial results, 130 interrupted.
"""

import contextlib
import errno
import os
import sys
import traceback
from pathlib import Path


class InputError(ValueError):
    """What the user gave cannot be used. The message is one line: got, expected, what to do next."""


class PartialResult(RuntimeError):
    """Results were written, but they are incomplete; the message says what is missing."""


def _no_space(error):
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def _end(error):
    """-> (exit code, one line or None for a traceback)."""
    if isinstance(error, PartialResult):
        return 3, f"partial result: {error}"
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted"
    if _no_space(error):
        return 1, f"no space: {error}; free some space or choose another output folder"
    if isinstance(error, (InputError, FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)):
        return 2, f"error: {error}"
    if isinstance(error, FloatingPointError):
        return 1, f"error: {error}"
    if getattr(error, "exit_code", None):  # a child process that has said why
        return error.exit_code, f"a worker process ended with exit code {error.exit_code}"
    return 1, None


def run_script(main):
    """Run main() -> exit code or None, and leave the process with the exit code the error stands for."""
    try:
        code = main() or 0
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (Exception, KeyboardInterrupt) as error:
        code, line = _end(error)
        if line is None:
            traceback.print_exc()
        else:
            print(" ".join(line.split("\n")), file=sys.stderr)
    sys.exit(code)


@contextlib.contextmanager
def atomic_path(path):
    """Yield "<stem>.tmp<suffix>" beside path; on success it is flushed to disk and renamed to path,
    on an exception it is removed, so that path is either whole or as it was."""
    path = Path(path)
    part = path.with_name(f"{path.stem}.tmp{path.suffix}")
    try:
        yield part
        with open(part, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
