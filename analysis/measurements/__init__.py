"""The measurements, one file each; `base.py` says what they share and what each may ask for."""
