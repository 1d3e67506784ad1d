"""Backdoor attacks, one file each. `Attack` in `base.py` says what an attack promises."""
