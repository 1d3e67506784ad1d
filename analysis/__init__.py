"""Measurements on trained weights: curvature, Fisher information, slices of the loss.

`operators` and `krylov` hold the mathematics, one measurement is one file with a `measure` method,
and `pipeline` runs a measurement as a run folder. Importing this package imports no torch, and
`density` and `partial` never do.
"""
