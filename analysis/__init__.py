"""Measurements on trained weights: curvature, Fisher information, the loss around a minimum.

In the order in which a reader should open them:

    result            what a measurement yields while it runs
    measurements/     one file per measurement; base.py says what all share, fisher_trace.py is the
                      one to copy
    model_under_test  the frozen copy of a model that each of them works on
    curvature/        Hessian, Gauss-Newton and Fisher matrices as operators, and Krylov methods
                      that ask them for eigenvalues, traces and densities
    landscape/        the loss away from the weights: directions, planes, what lies between models
    measures          the measures of sharpness: names, error bars, what leaves each as it is
    image_kinds       the kinds of images that can be measured on; `images` takes them
    execute           runs a measurement as a run folder; `__main__` is the command line

Importing this package imports no torch; `result`, `measures`, `image_kinds` and
`curvature.density` never do.
"""
