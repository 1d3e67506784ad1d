"""Weights on disk: those that a run ends with, and those that it leaves on its way."""
