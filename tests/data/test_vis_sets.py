"""Sets of video instance segmentation by their names, and the loaders over them."""

import itertools
import logging

import pytest
import torch
import ytvis_files
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from plain_sets import content as plain_content
from plain_sets import pictures, write_folder, write_json
from ytvis_files import changed

from stpn.config import add_stpn_config
from stpn.data.agreement import check_data_sets
from stpn.data.build import build_video_test_loader, build_video_train_loader
from stpn.data.builtin import ensure_registered, known_classes
from stpn.data.early_checks import check_early
from stpn.data.samplers import VideoShardSampler
from stpn.engine.trainer import Trainer
from stpn.errors import InputError


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Folder of DETECTRON2_DATASETS; what is registered in it is forgotten afterwards."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    before = set(DatasetCatalog.list())
    yield tmp_path
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def mini(root):
    """ytvis_mini in place of the real one: both parts are the small set."""
    for part in ("train", "valid"):
        write_json(root / "ytvis_mini" / f"{part}.json", ytvis_files.content())
        ytvis_files.write_pictures(root / "ytvis_mini" / part / "JPEGImages")
    return root / "ytvis_mini"


@pytest.fixture
def cfg(mini):
    cfg = get_cfg()
    add_stpn_config(cfg)
    cfg.MODEL.META_ARCHITECTURE, cfg.INPUT.MAPPER = "VideoInstanceSegmenter", "VideoInstanceMapper"
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 2
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("ytvis_mini_train",), ("ytvis_mini_val",)
    cfg.INPUT.FORMAT, cfg.INPUT.CLIP_CROP.ENABLED = "RGB", False
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = (24, 32), 60
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 24, 60
    cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_WORKERS, cfg.SEED = 2, 0, 3
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    return cfg


def samples(cfg, batches=10):
    return list(itertools.chain(*itertools.islice(build_video_train_loader(cfg), batches)))


# ---- names and trees

TREES = {f"ytvis_{year}_{part}": (f"ytvis_{year}/{stem}.json", f"ytvis_{year}/{folder}/JPEGImages")
         for year in (2019, 2021) for part, stem, folder in (
             ("train", "train", "train"), ("val", "valid", "valid"), ("test", "test", "test"),
             ("train_sub", "train_sub", "train"), ("val_sub", "val_sub", "train"))}
TREES |= {f"ovis_{part}": (f"ovis/annotations/annotations_{stem}.json", f"ovis/{folder}") for part, stem, folder in (
    ("train", "train", "train"), ("val", "valid", "valid"), ("test", "test", "test"),
    ("train_sub", "train_sub", "train"), ("val_sub", "val_sub", "train"))}
TREES |= {"toy_ytvis_train": ("toy_ytvis/train.json", "toy_ytvis/train/JPEGImages"),
          "toy_ytvis_val": ("toy_ytvis/valid.json", "toy_ytvis/valid/JPEGImages"),
          "toy_ytvis_still": ("toy_ytvis/still.json", "toy_ytvis/still/JPEGImages")}


@pytest.mark.parametrize("name", TREES)
def test_every_name_finds_its_file_and_pictures_in_the_official_tree(root, name):
    file, folder = TREES[name]
    write_json(root / file, ytvis_files.content())
    ensure_registered([name])
    metadata = MetadataCatalog.get(name)
    assert metadata.evaluator_type == "ytvis"
    dicts = DatasetCatalog.get(name)
    video_id = dicts[0]["video_id"]
    assert video_id == f"{file.split('/')[0]}/{name.removeprefix(file.split('/')[0] + '_')}/5"
    assert dicts[0]["file_name"] == f"{root}/{folder}/clip5/00000.png" == metadata.video_index.path(video_id, 0)
    assert metadata.image_root == f"{root}/{folder}" and metadata.json_file == f"{root}/{file}"
    assert metadata.thing_classes == known_classes(name) == ["ball", "cup"]


def test_instances_json_of_the_2021_archives_is_taken_where_there_is_no_renamed_one(root):
    write_json(root / "ytvis_2021" / "valid" / "instances.json", ytvis_files.content())
    ensure_registered(["ytvis_2021_val"])
    assert len(DatasetCatalog.get("ytvis_2021_val")) == 2


@pytest.mark.parametrize("name, says", [
    ("ytvis_2019_train", "ytvis_2019/train.json; put or link"),
    ("ytvis_2021_val", "ytvis_2021/valid.json or .*/ytvis_2021/valid/instances.json; put"),
    ("ovis_val_sub", "annotations_val_sub.json; make it from train.json with datasets/prepare_ytvis_split.py")])
def test_missing_file_is_named_with_what_to_do(root, name, says):
    ensure_registered([name])
    with pytest.raises(FileNotFoundError, match=f"annotation file not found: {root}/.*{says}"):
        DatasetCatalog.get(name)


def test_classes_are_known_where_the_set_is_not_there(root):
    assert len(set(known_classes("ytvis_2019_val"))) == 40 and known_classes("ytvis_2019_val")[7] == "dog"
    assert known_classes("ovis_val") is None


def test_own_json_is_of_the_form_it_is_written_in(root):
    write_json(root / "my_set" / "masks.json", ytvis_files.content())
    write_json(root / "my_set" / "boxes.json", plain_content("videos/park"))
    ytvis_files.write_pictures(root / "my_set" / "JPEGImages")
    write_folder(root / "my_set" / "videos" / "park", pictures(4))
    ensure_registered(["my_set/masks", "my_set/boxes"])
    kinds = [MetadataCatalog.get(f"my_set/{name}").evaluator_type for name in ("masks", "boxes")]
    assert kinds == ["ytvis", "imagenet_vid"] and len(DatasetCatalog.get("my_set/boxes")) == 3
    assert known_classes("my_set/masks") == ["ball", "cup"] == known_classes("my_set/boxes")
    video = DatasetCatalog.get("my_set/masks")[1]
    assert video["video_id"] == "my_set/masks/2"
    assert video["file_name"] == f"{root}/my_set/JPEGImages/clip2/00000.png"


# ---- loaders


def test_training_stream_is_of_drawn_frames_and_the_same_for_the_same_seed(cfg):
    first, again = samples(cfg), samples(cfg)
    assert {sample["json_id"] for sample in first} == {2, 5} and len({s["frame_index"] for s in first}) > 2
    for a, b in zip(first, again, strict=True):
        assert a["file_name"] == b["file_name"] and torch.equal(a["image"], b["image"])
        assert torch.equal(a["instances"].gt_masks.tensor, b["instances"].gt_masks.tensor)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_give_the_samples_of_none(cfg):
    alone = samples(cfg, 4)
    cfg.DATALOADER.NUM_WORKERS = 2
    for a, b in zip(alone, samples(cfg, 4), strict=True):
        assert a["file_name"] == b["file_name"] and torch.equal(a["support_images"], b["support_images"])
        assert torch.equal(a["instances"].gt_masks.tensor, b["instances"].gt_masks.tensor)


def test_batches_are_grouped_by_the_videos_shape(cfg, mini):
    content = ytvis_files.content()
    content["videos"] = [{**video, "id": 10 * video["id"] + i} for i in range(4) for video in content["videos"]]
    write_json(mini / "train.json", {**content, "annotations": []})
    batches = list(itertools.islice(build_video_train_loader(cfg), 8))
    assert all(len({sample["height"] for sample in batch}) == 1 for batch in batches)
    assert {batch[0]["height"] for batch in batches} == {24, 40}


def test_filter_leaves_out_videos_without_any_object(cfg, mini, caplog):
    content = ytvis_files.content()
    write_json(mini / "train.json", {**content, "annotations": content["annotations"][:2]})
    assert {sample["json_id"] for sample in samples(cfg)} == {2, 5}
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
    with caplog.at_level(logging.INFO):
        assert {sample["json_id"] for sample in samples(cfg)} == {5}
    assert "left out 1 of 2 training videos without objects" in caplog.text


def test_test_sample_is_a_whole_video(cfg):
    loader = build_video_test_loader(cfg, "ytvis_mini_val")
    (first,), (second,) = loader
    frames = list(second.pop("frames"))
    assert second == {"video_id": "ytvis_mini/val/2", "json_id": 2, "length": 3, "height": 40, "width": 30}
    assert first["json_id"] == 5 and len(list(first["frames"])) == 4
    assert [(item["frame"].index, item["height"], item["width"]) for item in frames] == [(t, 40, 30) for t in range(3)]
    assert frames[0]["image"].shape == (3, 32, 24)
    shards = [list(VideoShardSampler(loader.dataset.lengths, rank=rank, world_size=2)) for rank in range(2)]
    assert sorted(shards) == [[0], [1]]


def test_test_frame_of_another_size_than_its_video_is_refused_where_it_is_read(cfg, mini):
    """That of a first frame before anything is trained."""
    folder = mini / "valid" / "JPEGImages"
    path = folder / "clip2" / "00005.png"
    path.write_bytes((folder / "clip5" / "00000.png").read_bytes())
    check_data_sets(cfg, training=False)
    (first,), (second,) = build_video_test_loader(cfg, "ytvis_mini_val")
    assert len(list(first["frames"])) == 4
    line = " (frame {} of ytvis_mini/val/2) is 32x24 pixels, but the JSON says 30x40 for its video; correct the JSON " \
           "or the picture"
    assert refusal(list, second["frames"]) == f"{path}{line.format(1)}"
    assert len(list(second["frames"].select([0, 2]))) == 2
    path.rename(folder / "clip2" / "00000.png")
    path.write_bytes(b"")
    assert refusal(check_data_sets, cfg, training=False) == f"{folder}/clip2/00000.png{line.format(0)}"


# ---- files that are not there


def test_training_refuses_missing_frames_and_goes_without_them_where_allowed(cfg, mini):
    gone = [mini / "train" / "JPEGImages" / name for name in ("clip5/00005.png", "clip5/00010.png", "clip2/00000.png",
                                                             "clip2/00005.png", "clip2/00010.png")]
    for path in gone:
        path.unlink()
    with pytest.raises(InputError, match=f"^5 of 7 training frames are missing: {gone[0]}, .*; datasets/check.py "
                                         "ytvis_mini_train lists all$"):
        build_video_train_loader(cfg)
    cfg.DATALOADER.ALLOW_MISSING = True
    assert {(sample["json_id"], sample["frame_index"]) for sample in samples(cfg)} == {(5, 0), (5, 3)}


def test_evaluation_refuses_missing_frames(cfg, mini):
    (mini / "valid" / "JPEGImages" / "clip2" / "00010.png").unlink()
    for look in (lambda: build_video_test_loader(cfg, "ytvis_mini_val"), lambda: check_data_sets(cfg, training=False)):
        with pytest.raises(InputError, match="1 of 7 files of ytvis_mini_val are missing"):
            look()


# ---- what a run needs of its sets


def test_set_without_any_object_is_warned_of(cfg, mini, caplog):
    content = ytvis_files.content()
    crowd = {**content["annotations"][0], "iscrowd": 1}
    write_json(mini / "train.json", {**content, "annotations": [crowd]})
    assert not any(len(sample["instances"]) for sample in samples(cfg, 2))
    assert "no object in any frame of DATASETS.TRAIN (ytvis_mini_train): there is nothing to learn" in caplog.text
    caplog.clear()
    write_json(mini / "train.json", {**content, "annotations": [crowd, content["annotations"][1]]})
    samples(cfg, 1)
    assert "nothing to learn" not in caplog.text


def test_crowds_and_hidden_labels_are_legal_in_a_test_set(cfg, mini):
    write_json(mini / "valid.json", changed(annotations__0__iscrowd=1))
    check_data_sets(cfg, training=False)
    write_json(mini / "valid.json", {**ytvis_files.content(), "annotations": None})
    check_data_sets(cfg, training=False)
    assert MetadataCatalog.get("ytvis_mini_val").has_labels is False


def refusal(call, *arguments, **options):
    with pytest.raises(InputError) as error:
        call(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_set_whose_labels_are_hidden_cannot_be_trained_on(cfg, mini):
    write_json(mini / "train.json", {**ytvis_files.content(), "annotations": None})
    assert refusal(build_video_train_loader, cfg).startswith("ytvis_mini_train has no labels")


def test_detector_refuses_a_set_of_masks_and_the_segmenter_a_set_of_boxes(cfg, root):
    write_json(root / "my_set" / "boxes.json", plain_content("videos/park"))
    write_folder(root / "my_set" / "videos" / "park", pictures(4))
    boxes, masks = ("my_set/boxes",), cfg.DATASETS.TRAIN
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = boxes
    for call, options in ((build_video_train_loader, {}), (check_data_sets, {"training": False})):
        assert refusal(call, cfg, **options).startswith("my_set/boxes has boxes of labelled frames, but "
                                                        "MODEL.META_ARCHITECTURE VideoInstanceSegmenter needs")
    cfg.MODEL.META_ARCHITECTURE = "VideoObjectDetector"
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = masks
    for call, options in ((build_video_train_loader, {}), (check_data_sets, {"training": False})):
        line = refusal(call, cfg, **options)
        assert line.startswith("ytvis_mini_train has masks of whole videos (YouTube-VIS form), but "
                               "MODEL.META_ARCHITECTURE VideoObjectDetector needs boxes")


def test_mapper_of_the_other_task_is_refused(cfg):
    cfg.INPUT.MAPPER = "VideoDatasetMapper"
    assert refusal(build_video_train_loader, cfg).startswith("INPUT.MAPPER is VideoDatasetMapper, which does not fit")


def test_test_time_augmentation_is_refused_before_an_evaluation(cfg):
    cfg.TEST.AUG.ENABLED = True
    assert refusal(check_data_sets, cfg, training=False).startswith("TEST.AUG.ENABLED is True, but there is no test-")


@pytest.mark.parametrize("change, says", [
    (("INPUT.MAPPER", "VideoClipMapper"), "INPUT.MAPPER is 'VideoClipMapper'; known are "),
    (("INPUT.MAPPER", "VideoDatasetMapper"), "INPUT.MAPPER is VideoDatasetMapper, which does not fit"),
    (("TEST.AUG.ENABLED", True), "TEST.AUG.ENABLED is True"), (("INPUT.CROP.ENABLED", True), "INPUT.CROP.ENABLED is"),
    (("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 40), "ytvis_mini_train has 2 classes (ball, cup), but"),
    (("DATASETS.TEST", ("my_set/boxes",)), "my_set/boxes has boxes of labelled frames, but"),
    (("DATASETS.TRAIN", ("my_set/boxes",)), "my_set/boxes has boxes of labelled frames, but"),
    (("DATASETS.TRAIN", ("ytvis_mini_train", "my_set/hidden")), "my_set/hidden has no labels"),
    (("DATASETS.TRAIN", ("my_set/null",)), "my_set/null has no labels")])
def test_trainer_refuses_what_does_not_fit_before_it_builds_the_model(cfg, root, monkeypatch, change, says):
    write_json(root / "my_set" / "boxes.json", plain_content("videos/park"))
    unlabelled = {key: value for key, value in ytvis_files.content().items() if key != "annotations"}
    write_json(root / "my_set" / "hidden.json", unlabelled)
    write_json(root / "my_set" / "null.json", {"annotations": None, **unlabelled})
    cfg.MODEL.DEVICE = "cpu"
    monkeypatch.setattr(Trainer, "build_model", lambda cfg: pytest.fail("the model is built"))
    cfg.merge_from_list(list(change))
    assert refusal(Trainer, cfg).startswith(says)


def test_labelled_set_is_not_taken_for_one_with_hidden_labels(cfg, mini):
    """Its file names annotations in another place first."""
    write_json(mini / "train.json", {"source": {"annotations": None}, **ytvis_files.content()})
    check_early(cfg)


def test_number_of_classes_is_compared_with_the_segmenters_key(cfg):
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 40
    assert refusal(check_data_sets, cfg, training=False) == (
        "ytvis_mini_val has 2 classes (ball, cup), but MODEL.SEM_SEG_HEAD.NUM_CLASSES is 40; give "
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES 2 and weights of a model that was trained for them")
