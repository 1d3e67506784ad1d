"""Times of single steps, as `ngf calibrate` keeps them, in seconds."""

from __future__ import annotations

TIMES = {"step": 0.1, "surrogate": 0.05, "prepare": 7.0, "image": 0.001}
LANE = {"choose": 0.01, "begin": 0.002, "first": 1.1, "step": 0.1, "work": 1.0, "image": 0.0001}
