"""SafeCheckpointer: detectron2's checkpointer with safe reading, atomic writing and an honest resume.

Also the one place to import the weight functions from: read_checkpoint, load_weights, export_safetensors.
"""

import logging
import os
import re
from pathlib import Path

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils import comm

from ..errors import InputError, atomic_path
from .checkpoint_file import check_finite, export_safetensors, read_checkpoint, write_checkpoint
from .config_file import check_resumable_config, flatten_config
from .weights import LoadReport, compare, load_weights, put

__all__ = ["LoadReport", "SafeCheckpointer", "export_safetensors", "load_weights", "read_checkpoint"]

logger = logging.getLogger(__name__)

_PARTIAL = ("*.tmp.pth", "last_checkpoint.tmp")  # names that atomic_path gives to unfinished files


class SafeCheckpointer(DetectionCheckpointer):
    """Drop-in for detectron2's DetectionCheckpointer (resume_or_load, load, save, PeriodicCheckpointer).

    config: the run's CfgNode, stored with each checkpoint; a resume prints keys that differ and refuses a
        changed architecture.
    scope, allow_partial: as in load_weights, for files that are not resumed from. By default a checkpointer
        with training state (trainer=...) may start from a part of the model, one without needs all of it.
    Files of a run are trusted no more than others: everything is read by read_checkpoint.
    """

    def __init__(
        self, model, save_dir="", *, save_to_disk=None, config=None, scope=None, allow_partial=False,
        **checkpointables,
    ):  # fmt: skip
        super().__init__(model, save_dir, save_to_disk=save_to_disk, **checkpointables)
        self.config, self.scope, self.allow_partial = config, scope, allow_partial

    def resume_or_load(self, path, *, resume=True):
        """Resume from the newest checkpoint in save_dir that can be read, or load only weights from path.

        All processes call it. It says which file was taken and, when asked to resume with no checkpoint
        there, that training starts at iteration 0. Raises InputError if there are checkpoints but none can
        be resumed from.
        """
        self._remove_partial_files()
        found = self._newest_readable() if resume else None
        _require_same_everywhere(found and os.path.basename(found[0]))
        if found:
            return self._resume(*found)
        if resume:
            logger.warning("nothing to resume from in %r: starting at iteration 0", self.save_dir)
        return self.load(path, checkpointables=[])

    def load(self, path, checkpointables=None):
        """Load path: weights and the named state (None: all there is) if the file has it, else weights."""
        if not path:
            frozen = sum(not parameter.requires_grad for parameter in self.model.parameters())
            stuck = f", and {frozen} of its tensors are frozen and stay random" if frozen else ""
            logger.warning("MODEL.WEIGHTS is empty: the model starts from random weights%s", stuck)
            return {}
        path = self.path_manager.get_local_path(path) if "://" in path else path
        content = read_checkpoint(path)
        names = list(self.checkpointables) if checkpointables is None else checkpointables
        if names and "model" in content and any(name in content for name in names):
            return self._resume(path, content, names=names)
        scope = self.scope or ("parts" if self.checkpointables else "model")
        load_weights(self.model, content, name=path, scope=scope, allow_partial=self.allow_partial)
        return {key: value for key, value in content.items() if key != "model"}

    def save(self, name, **kwargs):
        """Write save_dir/name.pth, whole or not at all, then point last_checkpoint at it. Weights that are
        not finite are not saved (FloatingPointError), so the newest checkpoint is always a good one."""
        if not self.save_dir or not self.save_to_disk:
            return
        data = {"model": self.model.state_dict()}
        data.update((key, state.state_dict()) for key, state in self.checkpointables.items())
        data.update(kwargs, config=flatten_config(self.config) if self.config is not None else None)
        file = Path(self.save_dir) / f"{name}.pth"
        try:
            check_finite(data["model"], "the model")
        except InputError as error:
            last = self.get_checkpoint_file() or "none"
            raise FloatingPointError(
                f"{file.name} not saved: {error}; last good checkpoint: {last}"
            ) from None
        logger.info("saving %s", file)
        write_checkpoint(data, file)
        self.tag_last_checkpoint(file.name)

    def tag_last_checkpoint(self, last_filename_basename):
        with atomic_path(Path(self.save_dir) / "last_checkpoint") as part:
            part.write_text(last_filename_basename)

    def has_checkpoint(self):
        return bool(self.get_checkpoint_file())

    def get_checkpoint_file(self):
        """The file last_checkpoint names; the newest one if that is missing or dangling; "" if none."""
        return self._tagged() or next(iter(self.get_all_checkpoint_files()), "")

    def get_all_checkpoint_files(self):
        """Finished .pth files in save_dir, newest iteration first."""
        files = [file for file in Path(self.save_dir).glob("*.pth") if not file.name.endswith(".tmp.pth")]
        return [str(file) for file in sorted(files, key=_iteration, reverse=True)] if self.save_dir else []

    def _load_file(self, f):
        """What the parent class calls to read a file; it would unpickle."""
        content = read_checkpoint(f)
        return content if "model" in content else {"model": content}

    def _tagged(self):
        try:
            name = (Path(self.save_dir) / "last_checkpoint").read_text().strip()
        except (OSError, UnicodeDecodeError):
            return ""
        file = os.path.join(self.save_dir, name)
        return file if name and os.path.isfile(file) else ""

    def _newest_readable(self):
        """-> (file, content) to resume from, or None if the folder has no checkpoint at all."""
        tagged, problems = self._tagged(), []
        for file in dict.fromkeys(([tagged] if tagged else []) + self.get_all_checkpoint_files()):
            try:
                content = read_checkpoint(file)
                lacking = [key for key in ("model", *self.checkpointables) if key not in content]
                if lacking:
                    raise InputError(f"{file} has no {', '.join(lacking)}: weights, not a run to resume")
            except InputError as error:
                logger.warning("cannot resume from this file: %s", error)
                problems.append(str(error))
                continue
            if file != tagged:
                logger.warning("last_checkpoint does not name a readable file; newest that is: %s", file)
            return file, content
        if problems:
            raise InputError(
                f"none of the {len(problems)} checkpoints in {self.save_dir} can be resumed from "
                f"({problems[0]}); restore one, or train in another OUTPUT_DIR"
            )
        return None

    def _resume(self, path, content, names=None):
        """Everything of a run: refused before anything is changed if the run was another one."""
        check_resumable_config(content.pop("config", None), self.config, path)
        weights = content.pop("model")
        report = compare(weights, self.model.state_dict(), source=path)
        if report.missing or report.unexpected or report.mismatched:
            raise InputError(
                f"cannot resume from {path}: the model is another one ({report.counts()}; "
                f"{report.details()}); use another OUTPUT_DIR, and MODEL.WEIGHTS to start from these weights"
            )
        put(self.model, weights, report.matched)
        for name in self.checkpointables if names is None else names:
            if name in content:
                self.checkpointables[name].load_state_dict(content.pop(name))
        logger.info("resumed from %s, saved after iteration %s", path, content.get("iteration", "?"))
        return content

    def _remove_partial_files(self):
        """What a killed run left while saving. Only a training run does this: another process that merely
        evaluates must not touch the file that the training is writing."""
        if not (self.save_dir and self.save_to_disk and self.checkpointables):
            return
        for file in (file for pattern in _PARTIAL for file in Path(self.save_dir).glob(pattern)):
            logger.warning(
                "removing %s (%d bytes): a run was stopped while saving it", file, file.stat().st_size
            )
            file.unlink(missing_ok=True)


def _iteration(file):
    """Iteration of a checkpoint: from its name (model_0000999.pth), else from inside (model_final.pth)."""
    number = re.search(r"_(\d+)\.pth$", file.name)
    if number:
        return int(number[1])
    try:
        return int(read_checkpoint(file).get("iteration", -1))
    except (InputError, TypeError, ValueError):
        return -1


def _require_same_everywhere(choice):
    """Processes that resume from different files would train different models without noticing."""
    choices = comm.all_gather(choice)
    if any(other != choices[0] for other in choices):
        raise InputError(
            f"the processes see different checkpoints: {choices}; OUTPUT_DIR must be one for all"
        )
