"""explain.py on a generated clip with the committed toy models, and the frames that it explains."""

import json
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import pytest
import torch
from load_script import load_script

from stpn.data.source import open_source
from stpn.data.toy import render_video
from stpn.engine.config_file import load_config
from stpn.engine.predictor import VideoPredictor
from stpn.engine.readable_frames import ReadableFrames
from stpn.errors import InputError
from stpn.explain import Target, explained_frames

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def beside_its_modules(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "projects/STPN"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    for t, frame in enumerate(render_video(11, "val", 0).frames[:14]):
        cv2.imwrite(str(folder / f"{t:05d}.png"), frame[:, :, ::-1])
    return folder


@pytest.fixture(scope="module")
def predictor():
    torch.set_num_threads(1)
    return VideoPredictor(load_config(str(ROOT / "configs/toy/stpn.yaml")))


@pytest.mark.parametrize("policy", ["grid", "causal", "spread"])
def test_prompts_are_those_that_the_model_uses_and_pictures_those_of_the_supports(clip, predictor, policy):
    model = predictor.model
    sampler = model.sampler.with_policy(policy)
    with open_source(str(clip)) as source:
        frames = ReadableFrames(source, predictor._prepare, fields=())
        found = list(explained_frames(model, frames, [3, 9], sampler=sampler))
    with open_source(str(clip)) as source:
        used = dict(enumerate(model.prompted(ReadableFrames(source, predictor._prepare, fields=()), sampler)))
    with open_source(str(clip)) as source:
        pictures = [frame.image for frame in source]
    assert [frame.t for frame in found] == [3, 9]
    for frame in found:
        torch.testing.assert_close(frame.prompts[0], used[frame.t][1][0])
        assert frame.supports.numbers == sampler.test(frame.t, 14)
        assert all((image == pictures[i]).all()
                   for i, image in zip(frame.supports.numbers, frame.supports.images, strict=True))


def test_frames_keep_their_numbers_where_some_cannot_be_read(clip, predictor, tmp_path):
    """The third of ten is broken: supports are counted without it, numbers are those of the files."""
    for path in sorted(clip.glob("*.png"))[:10]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "00002.png").write_bytes(b"broken")
    with open_source(str(tmp_path), on_error="skip") as source:
        frames = ReadableFrames(source, predictor._prepare)
        (found,) = explained_frames(predictor.model, frames, [9], sampler=predictor.model.sampler)
    assert found.t == 9 and (found.picture == cv2.imread(str(clip / "00009.png"))[:, :, ::-1]).all()
    readable = [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert found.supports.numbers == [readable[i] for i in predictor.model.sampler.test(8, 9)]


class Watched(ReadableFrames):
    """Counts how often it was closed."""

    made = []

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.closed = 0
        self.made.append(self)

    def close(self):
        self.closed += 1
        super().close()


@pytest.fixture
def frames_module(monkeypatch):
    module = load_script("projects/STPN/explain_frames.py")
    monkeypatch.setattr(Watched, "made", [])
    monkeypatch.setattr(module, "ReadableFrames", Watched)
    return module


def broken_at(number, clip, folder):
    for path in sorted(clip.glob("*.png")):
        (folder / path.name).write_bytes(b"broken" if int(path.stem) == number else path.read_bytes())
    return str(folder)


def test_an_error_of_the_source_is_raised_in_place_of_pictures_of_half_the_supports(clip, tmp_path, frames_module):
    """SELSA's supports reach further than the prompts': the first walk ends before the broken frame."""
    options = ["MODEL.WEIGHTS", "", "INPUT.SUPPORT.TEST_POLICY", "grid", "INPUT.SUPPORT.FRAMES_PER_SIDE", "1",
               "INPUT.SELSA.FRAMES_PER_SIDE", "2", "INPUT.SELSA.STRIDE", "1"]
    selsa = VideoPredictor(load_config(str(ROOT / "configs/toy/stpn_selsa.yaml"), options))
    prompts, aggregated = (sampler.look_ahead for sampler in selsa.model.support_samplers())
    assert 1 + prompts + aggregated < 14
    source = broken_at(1 + prompts + aggregated, clip, tmp_path)
    with open_source(source) as opened:
        assert [frame.t for frame in frames_module.walk(selsa, opened, [1], None)] == [1]
    with pytest.raises(InputError, match="broken|read"):
        frames_module.collect(selsa, source, [1], None)
    assert len(Watched.made) == 3 and all(frames.closed == 1 for frames in Watched.made)


@pytest.mark.parametrize("name", ["explained_frames", "aggregated_supports"])
def test_frames_are_closed_where_the_model_fails(clip, predictor, frames_module, monkeypatch, name):
    def fails(model, frames, *arguments, **options):
        yield from (1 / 0 for _ in frames)

    monkeypatch.setattr(frames_module, name, fails)
    monkeypatch.setattr(predictor.model, "selsa_sampler", None, raising=False)
    with pytest.raises(ZeroDivisionError):
        frames_module.collect(predictor, str(clip), [2], None)
    assert Watched.made and all(frames.closed == 1 for frames in Watched.made)


TOY = ["--config-file", str(ROOT / "configs/toy/stpn.yaml")]
BASELINE = ["--against", str(ROOT / "configs/toy/baseline.yaml")]


def explain(*arguments):
    load_script("projects/STPN/explain.py").main([str(part) for part in arguments])


def test_the_script_writes_its_sheets_and_numbers(clip, tmp_path, predictor):
    command = [*TOY, *BASELINE, "--input", clip, "--frames", 3, 11, "--stage", "res3", "res4", "--output", tmp_path]
    explain(*command)
    told = json.loads((tmp_path / "explain.json").read_text())
    assert [frame["frame"] for frame in told["frames"]] == [3, 11] and told["stages"] == ["res3", "res4"]
    for frame in told["frames"]:
        found = predictor(str(clip))[frame["frame"]]
        best = int(found.scores.argmax())
        logits = frame["detection"]["logits"]
        assert list(logits) == ["against", "model"] and logits["against"] != logits["model"]
        assert all(isinstance(logit, float) for logit in logits.values())
        assert frame["detection"]["score"] == pytest.approx(found.scores[best].item(), abs=1e-5)
        assert frame["detection"]["box"] == pytest.approx(found.pred_boxes.tensor[best].tolist(), abs=1e-3)
    reads = told["prompts"]["prompt_reads_frame"]
    assert len(reads) == 5 and all(sum(prompt) == pytest.approx(1, abs=1e-4) for prompt in reads)
    assert told["prompts"]["support_frames"] == sorted(set(told["prompts"]["support_frames"]))
    for name in ("grad_cam", "support_reading", "prompt_reading"):
        assert cv2.imread(str(tmp_path / f"{name}.png")).std() > 10
    with pytest.raises(InputError, match="exists already"):
        explain(*command)


def test_a_box_of_the_users_is_explained_in_every_frame_and_replaces_earlier_pictures(clip, tmp_path, predictor):
    base = ["--input", clip, "--frames", 5, "--output", tmp_path, "--overwrite"]
    explain(*TOY, *base)
    name = predictor.class_names[3]
    explain("--config-file", BASELINE[1], *base, "--box", "10,20,30,25", "--label", name)
    (frame,) = json.loads((tmp_path / "explain.json").read_text())["frames"]
    assert list(frame["detection"].pop("logits")) == ["model"] and frame["detection"] == {
        "label": name, "score": None, "box": [10, 20, 40, 45]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["explain.json", "grad_cam.png"]


def test_the_number_of_a_query_is_not_asked_of_another_model(monkeypatch):
    script, asked = load_script("projects/STPN/explain.py"), {}
    monkeypatch.setattr(script, "class_score", lambda model, frame, target: asked.setdefault(model, target))
    monkeypatch.setattr(script, "grad_cam", lambda model, item, **_: ({}, len(model)))
    args, frame = SimpleNamespace(stage=["res4"]), SimpleNamespace(item={}, prompts=None)
    target = Target([0, 0, 5, 5], 1, torch.ones(9, 9, dtype=torch.bool), 0.75, 4)
    found = script.cams_of(args, ["the other", "own"], [frame, frame], target)
    assert found == {"against": ({}, 9), "model": ({}, 3)}
    assert asked["own"] is target and asked["the other"].query is None and asked["the other"].mask is target.mask


def test_predictors_without_attention_leave_one_sheet_out_and_say_so(clip, tmp_path, capsys):
    explain("--config-file", ROOT / "configs/toy/stpn_mixer.yaml", "--input", clip, "--frames", 2, "--output", tmp_path)
    assert "support_reading.png is left out: MixerPredictor" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["explain.json", "grad_cam.png", "prompt_reading.png"]


@pytest.mark.parametrize("config", ["stpn_deep", "vis_stpn", "vot_stpn_score"])
def test_the_film_has_every_frame_with_prompts_of_all_kinds_of_models(clip, tmp_path, config):
    tracker = config.startswith("vot")
    explain("--config-file", ROOT / f"configs/toy/{config}.yaml", "--input", clip, "--video", "--output", tmp_path,
            *(["--init", "20,20,30,30"] if tracker else []))
    with av.open(str(tmp_path / "explain.mp4")) as film:
        frames = list(film.decode(video=0))
    # A tracker's first frame has no prompts. A CvT has three stages, a Swin four.
    assert len(frames) == 14 - tracker and round(frames[0].width / 304) == 5 - tracker


def parsed(*arguments):
    module = load_script("projects/STPN/explain_arguments.py")
    return module.parse_arguments("", ["--config-file", "c", "--input", "i", "--output", "o", *arguments])


def test_boxes_may_begin_with_a_minus():
    args = parsed("--init", "-5,30,60,60", "--box", "-.5,-3,9,9", "--label", "a")
    assert (args.init, args.box, args.label) == ("-5,30,60,60", "-.5,-3,9,9", "a")
    assert parsed("--box=-5,1,9,9").box == "-5,1,9,9"


def test_overrides_behind_options_of_several_words_are_overrides():
    args = parsed("--frames", "4", "12", "--stage", "res3", "res4", "MODEL.WEIGHTS", "x", "SEED", "3")
    assert args.frames == [4, 12] and args.stage == ["res3", "res4"]
    assert args.opts == ["MODEL.WEIGHTS", "x", "SEED", "3"] and args.of_cam == ["--stage"]
    args = parsed("--stage", "res3", "--frames", "4", "12", "MODEL.WEIGHTS", "x")
    assert (args.frames, args.stage, args.opts) == ([4, 12], ["res3"], ["MODEL.WEIGHTS", "x"])
    args = parsed("--frames", "1", "--overwrite", "MODEL.WEIGHTS", "x")
    assert (args.frames, args.stage, args.opts) == ([1], ["res4"], ["MODEL.WEIGHTS", "x"])
    with pytest.raises(InputError, match="--frames four; expected frame numbers"):
        parsed("--frames", "four")


def test_what_does_not_go_together_is_refused_in_one_line(clip, tmp_path):
    base = ["--input", clip, "--frames", 1, "--output", tmp_path]
    film = [*base[:2], "--video", *base[4:]]
    tracker = ["--config-file", ROOT / "configs/toy/vot_stpn_score.yaml"]
    for arguments, said in (
            ([*TOY, *base[:2], "--frames", 99, *base[4:]], "no frame 99"),
            ([*TOY, *base[:2], *base[4:]], "nothing to show"),
            ([*TOY, *base, "--stage", "res9"], "res2, res3, res4, res5"),
            ([*TOY, *base, "--label", "unicorn"], "not a class of this model; its classes are"),
            ([*TOY, *base, "--box", "1,2,30,30"], "give --label NAME"),
            ([*TOY, *base, "--box", "1,2,-3,4", "--label", "rings"], "box"),
            ([*TOY, *base, "--detection", 0], "expected 1"),
            ([*TOY, *base, "--init", "1,2,3,4"], "--init is for trackers"),
            ([*TOY, *base, "--against", ROOT / "configs/toy/vis_baseline.yaml"], "--against is for"),
            (["--config-file", BASELINE[1], *base, "--video"], "without prompts"),
            ([*tracker, *base], "needs --init"),
            ([*tracker, *base[:2], "--frames", 0, *base[4:], "--init", "20,20,30,30"], "frame 0 is where"),
            ([*tracker, *base, "--init", "20,20,30,30", "--label", "disc"], "--label: .* not shown of trackers"),
            ([*tracker, *base, "--init", "20,20,30,30", "--stage", "res4"], "--stage: .* not shown of trackers"),
            ([*tracker, *base, "--init", "20,20,30,30", "--detection", 1], "--detection: .* not shown of trackers"),
            ([*tracker, *base, "--init", "20,20,30,30", *BASELINE], "--against: .* not shown of trackers"),
            ([*tracker, *base[:2], "--frames", 3, 4, *base[4:], "--init", "20,20,30,30"], "one number"),
            ([*TOY, *base, "--box", "1,2,3,4", "--label", "rings", "--detection", 1], "no --detection"),
            ([*TOY, *base, "--against-weights", BASELINE[1]], "give --against FILE"),
            ([*TOY, *film, *BASELINE, "--label", "rings"], "--against, --label: .* --video is given alone"),
            ([*TOY, *film, "--stage", "res4"], "--stage: .* --video is given alone"),
            ([*TOY, *film, "--detection", 1], "--detection: .* --video is given alone"),
            ([*TOY, *film, "--box", "1,2,3,4"], "--box: .* --video is given alone")):
        with pytest.raises(InputError, match=said) as error:
            explain(*arguments)
        assert "\n" not in str(error.value)
