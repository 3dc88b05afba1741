"""Reports and plots of made-up studies: all values are there, nothing lies on something else, nothing is loaded."""

import itertools
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from stpn.study import plots
from stpn.study.labels import spread_apart
from stpn.study.report import controls_of, report_blocks, write_report

METRICS = ["bbox/AP50-deteriorated", "bbox/AP"]


def row(name, values, *, base=(), **changes):
    """A row of a summary; its second metric is the first and 20."""
    metrics = {}
    for i, metric in enumerate(METRICS if values else ()):
        found = [value + 20 * i for value in values]
        metrics[metric] = {"values": found, "mean": float(np.mean(found)),
                           "spread": float(np.std(found, ddof=1)) if len(found) > 1 else None,
                           "gain": [a - b for a, b in zip(values, base)] or None}
    return {"name": name, "x": None, "group": "", "series": "", "baseline": False, "control": "", "weights_of": "",
            "parameters": 1000000 if values else None, "seeds": list(range(len(values))),
            "missing": [0, 1, 2][len(values):], "metrics": metrics, **changes}


BASE = [40.0, 42.0, 41.0]


def summary(figure, rows, *, axis=""):
    return {"name": f"A study of {figure}", "metrics": METRICS, "seeds": [0, 1, 2], "axis": axis, "figure": figure,
            "rows": [row("baseline", BASE, base=BASE, baseline=True), *rows]}


def line_study():
    controls = ["another_video", "own_frame", "no_prompts", "learnt_prompts", "own_frame_trained"]
    rows = [row(f"K = {k}", [45 + k, 46.5, 44], base=BASE, x=k) for k in (7, 1, 3)]
    rows += [row(f"control {i}", [41 + i / 10, 42, 40.5], base=BASE, control=name, weights_of="K = 7" if i < 3 else "")
             for i, name in enumerate(controls)]
    return summary("line", [*rows, row("K = 5", [], x=5)], axis="K")


def bars_study():
    rows = [row("narrow, deep", [44, 45, 46], base=BASE, group="16", series="deep", parameters=2000000),
            row("narrow, shallow", [43, 45, 44], base=BASE, group="16", series="shallow"),
            row("wide, base", [50, 51, 52], group="32", series="baseline", baseline=True),
            row("wide, deep", [55, 56.5, 57], base=[50, 51, 52], group="32", series="deep")]
    found = summary("bars", rows)
    found["rows"][0].update(group="16", series="baseline")
    return found


def speed_study():
    rows = [row("mixer", [44, 45, 46], base=BASE, parameters=1500000),
            row("attention", [44.2, 45, 46.1], base=BASE, parameters=3000000),
            row("attention again", [44.3, 45.2, 46.1], base=BASE, parameters=3000000),
            row("untimed", [60, 61, 62], base=BASE)]
    return summary("speed", rows), {"mixer": 0.9, "attention": 0.91, "attention again": 0.905}


def drawn(figure, *, gid):
    """-> sorted y of the lines with this name."""
    return sorted(y for axes in figure.axes for line in axes.lines if line.get_gid() == gid for y in line.get_ydata())


@pytest.mark.parametrize("study", [line_study(), bars_study()], ids=["line", "bars"])
def test_every_finite_value_of_every_row_is_a_point(study):
    study["rows"][1]["metrics"][METRICS[0]]["values"][1] = float("nan")
    values = [v for r in study["rows"] for v in plots.finite_values(r, METRICS[0])]
    assert drawn(plots.draw_figure(study, {}), gid="seeds") == pytest.approx(sorted(values))
    assert len(values) == 3 * sum(bool(r["metrics"]) for r in study["rows"]) - 1


def test_over_speed_areas_of_markers_are_as_the_numbers_of_parameters_and_x_is_the_measured_speed():
    study, speeds = speed_study()
    (axes,) = plots.draw_figure(study, speeds).axes
    markers = [found for found in axes.collections if found.get_gid() == "mean"]
    ratios = np.array([marker.get_sizes()[0] for marker in markers])
    np.testing.assert_allclose(ratios / ratios[0], [1, 1.5, 3, 3])
    np.testing.assert_allclose([marker.get_offsets()[0] for marker in markers],
                               [[1, 41], [0.9, 45], [0.91, 45.1], [0.905, 45.2]])


def test_without_a_measured_speed_the_axis_is_parameters_and_says_so():
    study, _ = speed_study()
    (axes,) = plots.draw_figure(study, {}).axes
    assert "parameters in millions" in axes.get_xlabel() and "relative" not in axes.get_xlabel()
    markers = [found.get_offsets()[0][0] for found in axes.collections if found.get_gid() == "mean"]
    assert markers == [1, 1.5, 3, 3, 1]


def test_labels_of_rows_that_are_nearly_equal_do_not_lie_on_each_other():
    rows = [row(f"predictor {i}", [44 + i / 50, 45, 46], base=BASE) for i in range(6)]
    figure = plots.draw_figure(summary("speed", rows), {r["name"]: 0.9 + i / 500 for i, r in enumerate(rows)})
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    assert len(boxes) == 7
    for a, b in itertools.combinations(boxes, 2):
        common = (min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0))
        assert min(common) <= 1, "a pixel may be shared"


def test_levels_are_named_in_their_order_without_covering_each_other_and_inside_the_picture():
    figure = plots.draw_figure(line_study(), {})
    figure.canvas.draw()
    texts = [text for axes in figure.axes for text in axes.texts if re.search(r"  \d", text.get_text())]
    boxes = sorted((text.get_window_extent() for text in texts), key=lambda box: box.y0)
    assert len(boxes) == 6 and all(low.y1 <= high.y0 + 1 for low, high in itertools.pairwise(boxes))
    assert max(box.x1 for box in boxes) <= figure.bbox.x1
    order = sorted(texts, key=lambda text: text.get_window_extent().y0)
    levels = [float(text.get_text().rsplit("  ", 1)[1]) for text in order]
    assert levels == sorted(levels)


def test_places_are_spread_no_more_than_needed():
    assert spread_apart([5, 1, 9], 2, low=0, high=10) == [5, 1, 9]
    assert spread_apart([5, 5, 5.5], 2, low=0, high=10) == [5, 7, 9]
    assert spread_apart([9, 10, 9.5], 2, low=0, high=10) == [6, 10, 8]


def test_bars_stand_by_group_in_the_order_of_series_with_one_colour_each_and_the_gain_over_their_own_baseline():
    (axes,) = plots.draw_figure(bars_study(), {}).axes
    bars = [(bar.get_x(), bar.get_gid(), bar.get_facecolor()) for bar in axes.patches]
    assert [gid for _, gid, _ in sorted(bars)] == ["baseline", "deep", "shallow", "baseline", "deep"]
    assert len({color for _, gid, color in bars if gid == "deep"}) == 1
    assert len({color for _, _, color in bars}) == 3
    gains = [text.get_text() for text in axes.texts if text.get_text().startswith("+")]
    assert gains == ["+4.0", "+3.0", "+5.2"]


def write(study, folder, speeds=None):
    return {path.name: path for path in write_report(study, folder, speeds)}


@pytest.mark.parametrize("study, speeds", [(line_study(), {}), speed_study(), (bars_study(), {})],
                         ids=["line", "speed", "bars"])
def test_a_report_written_twice_has_the_same_bytes(study, speeds, tmp_path):
    first, second = (write(study, tmp_path / name, speeds) for name in ("first", "second"))
    assert set(first) == {"results.json", "report.md", "report.html", "plot.png", "plot.svg"}
    for name, path in first.items():
        assert path.read_bytes() == second[name].read_bytes(), name


class Loads(HTMLParser):
    """What a browser would load or run."""

    def __init__(self, page):
        super().__init__()
        self.found, self.tags = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.found += [value for name, value in attributes if name.rpartition(":")[2] in ("src", "href", "srcset")
                       or name.startswith("on")]


def test_the_page_is_one_file_that_loads_and_runs_nothing(tmp_path):
    study = line_study()
    study["rows"][1]["name"] = "<script>K"
    page = write(study, tmp_path)["report.html"].read_text()
    loads = Loads(page)
    assert all(value.startswith("#") for value in loads.found) and loads.found
    assert "svg" in loads.tags and "script" not in loads.tags and "link" not in loads.tags
    assert "@import" not in page and not re.findall(r"url\((?!['\"]?#)", page) and "<!DOCTYPE svg" not in page


def test_missing_rows_are_named_and_so_are_those_without_a_speed(tmp_path):
    text = write(line_study(), tmp_path / "line")["report.md"].read_text()
    assert "Not run yet: K = 5 (seeds 0, 1, 2)." in text and "| K = 5 " in text
    study, speeds = speed_study()
    text = write(study, tmp_path / "speed", speeds)["report.md"].read_text()
    assert "as their speed was not measured: untimed." in text and "0.910" in text
    assert "No speed has been measured" in write(study, tmp_path / "none")["report.md"].read_text()


def test_controls_stand_below_their_row_and_its_baseline_with_what_they_rule_out():
    study = line_study()
    assert {owner: len(rows) for owner, rows in controls_of(study).items()} == {"K = 7": 5}
    table, controls = [block for block in report_blocks(study, {}) if hasattr(block, "rows")]
    assert [line[0] for line in table.rows] == ["baseline", "K = 7", "K = 1", "K = 3", "K = 5"]
    assert [line[0] for line in controls.rows] == ["baseline", "K = 7", *(f"control {i}" for i in range(5))]
    assert all(bool(line[-1]) == line[0].startswith("control") for line in controls.rows)
    assert len({line[-1] for line in controls.rows}) == 6


def test_gain_is_told_as_mean_and_seed_by_seed_and_of_the_baseline_not_at_all():
    table = report_blocks(line_study(), {})[0]
    lines = {line[0]: line[3] for line in table.rows}
    assert lines["K = 7"] == "+6.5 (+12.0 +4.5 +3.0)" and lines["baseline"] == lines["K = 5"] == ""


def test_what_is_not_defined_is_said_and_the_numbers_stay_valid_json(tmp_path):
    study = line_study()
    study["rows"][2]["metrics"][METRICS[1]] |= {"values": [float("nan")] * 3, "mean": float("nan")}
    paths = write(study, tmp_path)
    assert "| not defined" in re.sub(" +", " ", paths["report.md"].read_text())
    found = json.loads(paths["results.json"].read_text(), parse_constant=lambda name: pytest.fail(name))
    assert found["rows"][2]["metrics"][METRICS[1]]["mean"] is None
