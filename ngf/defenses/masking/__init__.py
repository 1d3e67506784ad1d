"""What defenses share that mask or prune units: masks of channels, how they are learned, and how
far pruning goes.
"""
