"""Studies: one table of rows, each trained and evaluated with several seeds, and a report of what they show.

- plan.py      the study file: which rows there are
- controls.py  what is done to a trained model so that a gain from its supports must go
- job.py       one row with one seed: train, evaluate, one result file; finished work is not done again
- summary.py   all results as one table: mean, spread, gain seed by seed
- speed.py     rows against the baseline, in turn (timing.py)
- report.py    Markdown, HTML and a plot (plots.py)
"""
