"""Writes what ships in `assets`: the zoo and its cards, recordings, what was measured of the
paper's claims; and, from that, the tables of README.md. `python -m evidence --list` tells the
steps.

Each step is a module with two functions: `missing()` names what is not there yet, `make(name)`
makes one of it and says so. What the steps share: `shipped` (where files lie), `computing` (runs),
`statistics` (what is told of many models).
"""
