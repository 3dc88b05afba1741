"""Studies: tables of rows, each trained and evaluated with several seeds, and a report of what they show.

- plan.py       what a study consists of; study_file.py reads it from YAML, study_check.py says what is wrong with it
- controls.py   what is done to a model so that a gain from its neighbours must go
- job.py        one row with one seed: train, evaluate, one result file; finished work is not done again
- tasks.py      what is left of some studies, as processes; schedule.py runs them beside each other
- summary.py    all results as one table: mean, spread, gain seed by seed
- speed.py      rows against the baseline, in turn (timing.py)
- report.py     Markdown, HTML (layout.py) and a plot (plots.py, its texts placed by labels.py)
- page.py       one page of several studies, with what is said of them by hand
"""
