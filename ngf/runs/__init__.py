"""Runs as folders, and who executes them: standard library and filelock only, no torch.

In the order in which a reader should open them:

    folder      the names of a run's files, and the states that follow from them
    submit      the one door through which a run comes into being
    store       lists, finds, stops and deletes runs
    supervisor  hands waiting runs to children, fair between owners, and restarts killed ones
    child       executes one run in a process of its own; executors says where
    recorder    the one writer of a run's events, checkpoint and result
    log         reads the events while they are written; follow prints them in a terminal
    from_text   specifications from the words of a command line
    files       atomic files, JSON, and a lock that the kernel drops
"""
