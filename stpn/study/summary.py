"""The results of a study's jobs as one table: mean and spread over seeds, gain over the baseline seed by seed."""

from statistics import mean, stdev

from .job import Job


def summarise(study, output):
    """-> {"name", "metrics", "seeds", "axis", "figure", "rows": [{"name", "x", "group", "series", "baseline",
    "control", "weights_of", "parameters", "seeds": [...], "missing": [...],
    "metrics": {metric: {"values": [...], "mean", "spread", "gain": [...] or None}}}]}.

    values are in the order of seeds; spread is the standard deviation over seeds (None below two); gain: value minus
    that of the row's baseline with the same seed. Rows without a result have no metrics; nothing is left out silently:
    their seeds are in "missing"."""
    results = {row.name: {seed: Job(study, row, seed, output).result() for seed in study.seeds} for row in study.rows}
    base = {row.name: study.baseline_of(row) for row in study.rows}
    rows = [_row(study, row, results[row.name], results[base[row.name].name] if base[row.name] else {})
            for row in study.rows]
    return {"name": study.name, "metrics": study.metrics, "seeds": study.seeds, "axis": study.axis,
            "figure": study.figure, "rows": rows}


def _row(study, row, found, base):
    done = {seed: result for seed, result in found.items() if result}
    about = {"name": row.name, "x": row.x, "group": row.group, "series": row.series, "baseline": row.baseline,
             "control": row.control, "weights_of": row.weights_of, "seeds": list(done),
             "missing": [seed for seed in study.seeds if seed not in done],
             "parameters": next((result["parameters"] for result in done.values()), None)}
    return {**about, "metrics": {metric: _figures(metric, done, base) for metric in study.metrics} if done else {}}


def _figures(metric, done, base):
    values = {seed: result["metrics"][metric] for seed, result in done.items()}
    gain = [value - base[seed]["metrics"][metric] for seed, value in values.items() if base.get(seed)]
    numbers = list(values.values())
    return {"values": numbers, "mean": mean(numbers), "spread": stdev(numbers) if len(numbers) > 1 else None,
            "gain": gain or None}
