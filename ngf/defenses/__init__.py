"""Defenses, one file each. `contract` says what a defense promises, `race` runs several side by
side, and `fine_tuning` is the family that tunes layers: its members say only how a step is made.
`masking` is what those share that mask or prune, `unlearning` those that search for what may be a
trigger and unlearn it.
"""
