"""What the child does that opens a stranger's checkpoint: it looks, plans, checks, and only then
loads. Importing this package imports no torch.
"""
