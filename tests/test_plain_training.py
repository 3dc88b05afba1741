"""train_net.py, as typed, on a user's own videos: one video file and one folder of pictures."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import defaults
from load_script import load_script
from own_logging import own_logging
from plain_sets import LOSSLESS, changed, content, pictures, write_file, write_folder, write_json

from stpn.engine.class_names import class_names
from stpn.engine.config_file import load_config
from stpn.engine.trainer import Trainer
from stpn.errors import run_script

ROOT = Path(__file__).resolve().parents[1]
CONFIG = str(ROOT / "configs" / "toy" / "stpn.yaml")
# As small as in test_train_net.py; pictures keep their 48 x 64 pixels.
TINY = (
    "MODEL.WEIGHTS", "", "MODEL.DEVICE", "cpu", "MODEL.SWIN.EMBED_DIM", "8", "MODEL.SWIN.DEPTHS", "[1,1,1,1]",
    "MODEL.SWIN.NUM_HEADS", "[1,1,1,1]", "MODEL.SWIN.WINDOW_SIZE", "3", "MODEL.STPN.PREDICTOR.NUM_HEADS", "2",
    "MODEL.FPN.OUT_CHANNELS", "16", "MODEL.ROI_BOX_HEAD.FC_DIM", "16", "MODEL.ROI_HEADS.NUM_CLASSES", "2",
    "MODEL.ANCHOR_GENERATOR.SIZES", "[[20],[30]]", "INPUT.MIN_SIZE_TRAIN", "[48]", "INPUT.MIN_SIZE_TEST", "48",
    "SOLVER.IMS_PER_BATCH", "2", "SOLVER.WARMUP_ITERS", "1", "SOLVER.MAX_ITER", "2",
)  # fmt: skip


class RecordingTrainer(Trainer):
    """Leaves each iteration's losses and frames in OUTPUT_DIR/steps.json."""

    def _check(self, model, inputs, losses):
        super()._check(model, inputs, losses)
        if model.training:
            frames = [(s["video_id"], s["frame_index"], s["support_indices"]) for s in inputs[0]]
            self.steps = [*getattr(self, "steps", []), ({k: float(v) for k, v in losses.items()}, frames)]
            (Path(self.cfg.OUTPUT_DIR) / "steps.json").write_text(json.dumps(self.steps))


@pytest.fixture(autouse=True)
def sets(tmp_path, monkeypatch):
    """Two sets of the same 8-frame videos: mixed/{train,val} has a file and a folder, folders/train only folders."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "sets"))
    monkeypatch.setattr(defaults, "collect_env_info", lambda: "(skipped: it takes a second)")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    first, second = pictures(8), pictures(8, seed=1)
    mixed, folders = tmp_path / "sets" / "mixed", tmp_path / "sets" / "folders"
    write_file(mixed / "a.mkv", first, **LOSSLESS)
    write_folder(mixed / "b", second)
    write_folder(folders / "a", first)
    write_folder(folders / "b", second)
    write_json(mixed / "train.json", content("a.mkv", "b", labelled=4))
    write_json(mixed / "val.json", content("a.mkv", "b", labelled=8))
    write_json(folders / "train.json", content("a", "b", labelled=4))
    yield tmp_path / "sets"
    torch.set_num_threads(threads)
    for name in {*DatasetCatalog.list(), *MetadataCatalog.list()}:
        if name.startswith(("mixed/", "folders/")):
            DatasetCatalog.pop(name, None)
            MetadataCatalog.pop(name, None)


def run(output, name, *options, flags=(), test="()"):
    """train_net.py -> exit code."""
    script = load_script(ROOT / "projects" / "STPN" / "train_net.py")
    script.Trainer = RecordingTrainer
    arguments = ["--config-file", CONFIG, *flags, *TINY, "OUTPUT_DIR", str(output), "DATASETS.TRAIN", f"('{name}',)",
                 "DATASETS.TEST", test, *map(str, options)]  # fmt: skip
    with own_logging(), pytest.raises(SystemExit) as end:
        run_script(lambda: script.main(arguments))
    return end.value.code


def steps(output):
    """-> per iteration its losses, and its frames with the videos' names cut to their last part without suffix."""
    losses, frames = zip(*json.loads((output / "steps.json").read_text()), strict=True)
    return losses, [[(Path(video).stem, *rest) for video, *rest in batch] for batch in frames]


def test_training_and_evaluation_need_no_code_and_no_lists(tmp_path):
    assert run(tmp_path / "out", "mixed/train", test="('mixed/val',)") == 0
    metrics = json.loads((tmp_path / "out" / "inference" / "mixed" / "val" / "vid_metrics.json").read_text())
    assert (metrics["videos"], metrics["frames"], metrics["classes"]) == (2, 16, ["ball", "cup"])
    assert {"AP", "AP50", "AP-ball", "AP-cup"} <= set(metrics["results_percent"]["bbox"])
    assert len(steps(tmp_path / "out")[0]) == 2 and (tmp_path / "out" / "model_final.pth").is_file()


def test_a_video_file_and_its_frames_in_a_folder_give_the_same_samples_and_losses(tmp_path):
    """The file is compressed without loss; 4 iterations of 2 samples see each labelled frame once."""
    for name in ("mixed", "folders"):
        assert run(tmp_path / name, f"{name}/train", "SOLVER.MAX_ITER", 4, "DATALOADER.NUM_WORKERS", 1) == 0
    losses, frames = steps(tmp_path / "mixed")
    assert {(video, i) for batch in frames for video, i, _ in batch} == {(v, i) for v in "ab" for i in range(4)}
    assert (losses, frames) == steps(tmp_path / "folders")


def test_bad_json_ends_with_one_line_and_exit_code_2(tmp_path, sets, capsys):
    path = sets / "mixed" / "train.json"
    write_json(path, changed(content("a.mkv", "b"), annotations__3__bbox="none"))
    assert run(tmp_path / "out", "mixed/train") == 2
    out, err = capsys.readouterr()
    last = err.strip().splitlines()[-1]
    assert last.startswith(f'error: {path}: annotations[3].bbox is "none"; expected [x, y, width, height], four ')
    assert "Traceback" not in out + err


def test_missing_frames_stop_training_unless_the_flag_allows_them(tmp_path, sets, capsys):
    path = sets / "folders" / "train.json"
    what = content("a", "b", labelled=4)
    for image in what["images"]:
        image["file_name"] = f"{'ab'[image['video_id'] - 1]}/{image['frame_index'] + 1:06d}.png"
    write_json(path, what)
    shutil.rmtree(sets / "folders" / "b")
    write_folder(sets / "folders" / "b", pictures(2), start=3)
    assert run(tmp_path / "out", "folders/train") == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"error: 2 of 8 labelled training frames are missing: {sets}/folders/b/000001.png, ")
    assert "--allow-missing" in last
    assert run(tmp_path / "out", "folders/train", "SOLVER.MAX_ITER", 3, flags=["--allow-missing"]) == 0
    seen = {(video, i) for batch in steps(tmp_path / "out")[1] for video, i, _ in batch}
    assert seen == {("a", 0), ("a", 1), ("a", 2), ("a", 3), ("b", 2), ("b", 3)}


def refused(capsys, output, name, *options, **settings):
    """-> the one line with which train_net.py ends before its first iteration."""
    assert run(output, name, *options, **settings) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err and not (output / "steps.json").exists()
    assert not (output / "inference").exists()
    return err.strip().splitlines()[-1]


def test_model_with_fewer_or_more_classes_than_the_set_is_not_trained(tmp_path, capsys):
    for wrong in (1, 3):
        line = refused(capsys, tmp_path / "out", "mixed/train", "MODEL.ROI_HEADS.NUM_CLASSES", wrong)
        assert line == (f"error: mixed/train has 2 classes (ball, cup), but MODEL.ROI_HEADS.NUM_CLASSES is {wrong}; "
                        "give MODEL.ROI_HEADS.NUM_CLASSES 2")


def swapped(sets):
    """mixed/swapped: mixed/val with its class ids in the other order."""
    what = content("a.mkv", "b", labelled=8)
    ids = {2: 4, 4: 2}
    for row, key in [(row, "id") for row in what["categories"]] + [(row, "category_id") for row in what["annotations"]]:
        row[key] = ids[row[key]]
    write_json(sets / "mixed" / "swapped.json", what)
    return "('mixed/swapped',)"


SWAPPED = ("error: mixed/train and mixed/swapped have different class tables (the same names in another order: class 0 "
           "is 'ball' in the first, 'cup' in the second); ")  # fmt: skip


def test_classes_in_another_order_in_the_test_set_are_refused_before_training(tmp_path, sets, capsys):
    assert refused(capsys, tmp_path / "out", "mixed/train", test=swapped(sets)).startswith(SWAPPED)


def test_evaluation_refuses_other_classes_than_those_in_training(tmp_path, sets, capsys):
    line = refused(capsys, tmp_path / "out", "mixed/train", test=swapped(sets), flags=["--eval-only"])
    assert line.startswith(SWAPPED) and line.endswith("name in DATASETS.TRAIN the sets that the model was trained on")
    line = refused(capsys, tmp_path / "out", "mixed/train", "MODEL.ROI_HEADS.NUM_CLASSES", 3, test="('mixed/val',)",
                   flags=["--eval-only"])  # fmt: skip
    assert line == ("error: mixed/val has 2 classes (ball, cup), but MODEL.ROI_HEADS.NUM_CLASSES is 3; give "
                    "MODEL.ROI_HEADS.NUM_CLASSES 2 and weights of a model that was trained for them")


@pytest.mark.parametrize("train", ["toy_vid_train", "mixed/none"])
def test_evaluation_goes_on_and_says_so_where_the_classes_in_training_are_not_known(tmp_path, train, capsys):
    """The configuration's own DATASETS.TRAIN has other classes than the user's, and need not be there."""
    assert run(tmp_path / "out", "mixed/train") == 0
    weights = ("MODEL.WEIGHTS", tmp_path / "out" / "model_final.pth")
    assert run(tmp_path / "again", train, *weights, test="('mixed/val',)", flags=["--eval-only"]) == 0
    log = (tmp_path / "again" / "log.txt").read_text()
    assert f"in this order, is not checked with {train} of DATASETS.TRAIN: its classes " in log


def crowd(sets):
    write_json(sets / "mixed" / "crowd.json", changed(content("a.mkv", "b"), annotations__2__iscrowd=1))


def gone(sets):
    write_json(sets / "mixed" / "gone.json", changed(content("a.mkv", "c"), videos__1__width=64, videos__1__height=48))


@pytest.mark.parametrize("name, make, says", [
    ("mixed/vla", lambda sets: None, "error: data set 'mixed/vla' is not known: "),
    ("mixed/crowd", crowd, "error: mixed/crowd: {0}/mixed/a.mkv#2 (image id 12) has a crowd region (iscrowd 1), "),
    ("mixed/gone", gone, "error: 1 of 2 files of mixed/gone are missing: {0}/mixed/c; evaluation needs every frame"),
])  # fmt: skip
def test_what_evaluation_refuses_ends_the_run_before_training(tmp_path, sets, capsys, name, make, says):
    make(sets)
    line = refused(capsys, tmp_path / "out", "mixed/train", test=f"('mixed/val', '{name}')")
    assert line.startswith(says.format(sets))


def test_still_pictures_to_evaluate_on_end_the_run_before_training(tmp_path, capsys):
    DatasetCatalog.register("mixed/stills", lambda: [])
    MetadataCatalog.get("mixed/stills").set(thing_classes=["ball", "cup"])
    line = refused(capsys, tmp_path / "out", "mixed/train", test="('mixed/stills',)")
    assert line.startswith("error: mixed/stills has no videos: still pictures can be in DATASETS.TRAIN, not in ")


def test_class_names_come_from_the_json_without_the_videos(sets):
    shutil.rmtree(sets / "mixed" / "b")
    cfg = load_config(CONFIG, [*TINY, "DATASETS.TRAIN", "('mixed/train',)", "DATASETS.TEST", "('mixed/none',)"])
    assert class_names(cfg) == ["ball", "cup"]
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 3
    assert class_names(cfg) == ["class 0", "class 1", "class 2"]
