"""The mathematics of natural gradient: exact for a softmax layer, Kronecker-factored for any
layer.
"""
