"""What is wrong with a data set, all of it: counts, problems with their places, a contact sheet (datasets/check.py)."""
