"""Weights of other projects -> a file in our names, verified by a forward (projects/STPN/convert_weights.py)."""
