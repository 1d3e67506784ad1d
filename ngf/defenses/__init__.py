"""Defenses, one file each. `_fine_tuning.py` holds the loop they share; each says only how a
step is made.
"""
