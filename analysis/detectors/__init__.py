"""Detectors of a backdoor from clean images alone, one file each: what it costs to send every image
to one class, by pixels that are replaced, pixels that are shifted, and features that are shifted.
"""
