"""The page of a report: what is finished is in it, what is said by hand is beside it, and it stays small."""

import re
from types import SimpleNamespace

import pytest

from stpn.errors import InputError
from stpn.study import page
from stpn.study.report import write_report

METRIC = "bbox/AP50"


def finished(folder, name="Study of K"):
    """A finished study with a control -> its folder."""
    def row(name, values, **more):
        figures = {"values": values, "mean": sum(values) / 2, "spread": 1.0, "gain": [1.0, 2.0]}
        return {"name": name, "x": None, "group": "", "series": "", "baseline": False, "control": "", "weights_of": "",
                "parameters": 1000, "seeds": [0, 1], "missing": [], "metrics": {METRIC: figures}, **more}

    rows = [row("baseline", [40.0, 42.0], baseline=True), row("K = 3", [44.0, 46.0], x=3),
            row("no prompts", [30.0, 31.0], control="no_prompts", weights_of="K = 3")]
    write_report({"name": name, "metrics": [METRIC], "seeds": [0, 1], "axis": "K", "figure": "line", "rows": rows},
                 folder)
    return folder


def test_a_section_has_the_reports_tables_one_level_down_and_its_plot_and_numbers(tmp_path):
    folder = finished(tmp_path / "k")
    text, files = page.study_section(folder, "k", trained="Trained: briefly.", said={"found": "It\n  holds."})
    assert text.startswith("## Study of K\n\n[![Study of K](k.png)](k.svg)") and "\n### Controls of K = 3\n" in text
    assert not re.findall(r"^# ", text, re.M) and "**Found here:** It holds." in text and "The paper" not in text
    own = (folder / "report.md").read_text()
    assert [line for line in own.splitlines() if line.startswith("|")] == [
        line for line in text.splitlines() if line.startswith("|")]
    assert files == {"k.json": (folder / "results.json").read_bytes(), "k.png": (folder / "plot.png").read_bytes(),
                     "k.svg": (folder / "plot.svg").read_bytes()}


def test_a_picture_stands_above_its_caption_and_what_was_found():
    picture = SimpleNamespace(key="cam", title="Heat", files={"a.jpg": b"", "b.jpg": b""}, caption="A row each.")
    text = page.picture_section(picture, {"found": "Both look at the object.", "paper": ""})
    assert text == ("### Heat\n\n![Heat](a.jpg)\n\n![Heat](b.jpg)\n\nA row each.\n\n"
                    "**Found here:** Both look at the object.")


def test_findings_are_read_by_key_and_a_file_of_another_form_is_refused(tmp_path):
    assert page.read_findings(tmp_path) == {}
    file = tmp_path / page.FINDINGS
    file.write_text("k: {paper: It gains., found: It does.}\n")
    assert page.read_findings(tmp_path) == {"k": {"paper": "It gains.", "found": "It does."}}
    for wrong in ("k: {fond: x}", "k: text", "[1]", "k: {found: 3}", "k: ["):
        file.write_text(wrong)
        with pytest.raises(InputError, match=page.FINDINGS):
            page.read_findings(tmp_path)


def test_a_page_that_is_too_large_is_refused_before_anything_is_written_and_the_largest_file_named(tmp_path):
    (tmp_path / "old.mp4").write_bytes(bytes(2**20))
    files = {"small.png": bytes(100), "large.png": bytes(2 * 2**20)}
    with pytest.raises(InputError, match="3.0 MB.*largest file is large.png with 2.0 MB"):
        page.write_page(tmp_path, "text", files)
    assert [path.name for path in tmp_path.iterdir()] == ["old.mp4"]
    del files["large.png"]
    size = page.write_page(tmp_path, "text", files)
    assert size == sum(path.stat().st_size for path in tmp_path.iterdir()) == 2**20 + 104
