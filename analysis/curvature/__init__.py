"""Curvature of the loss and Fisher information: matrices as operators, and what is asked of
them.
"""
