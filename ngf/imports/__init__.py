"""Models that people bring: what their file is, what it wants to see, and a run made of it.

`pictures` reads the clean images, `classes` and `preprocessing` find out what the model wants,
`asking` tells what is open, `making` writes the run folder, `command` is the command line.
"""
