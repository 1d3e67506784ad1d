"""Runs as folders, and who executes them: standard library and filelock only, no torch.

- `store`: a run is a folder; its status is read from its files and nothing else.
- `recorder`: the one writer of a run's events, checkpoint and result.
- `child`: executes one run folder in a process of its own.
- `supervisor`: hands waiting runs to children, fair between owners, and restarts killed ones.
- `request`: checks what was asked for before it becomes a run.
"""
