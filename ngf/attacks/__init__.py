"""Backdoor attacks, one file each. `Attack` in `_attack.py` says what an attack promises."""
