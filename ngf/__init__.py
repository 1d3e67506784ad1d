"""Backdoor removal by natural gradient fine-tuning, live.

The story, in the order in which it happens:

1. `ngf.data` gives clean images and their splits, `ngf.models` the networks.
2. `ngf.attacks` describes triggers; `ngf.attacks.poison` puts them on training images.
3. `ngf.training` trains a network on the mix and refuses one that did not learn both tasks.
4. `ngf.checkpoints` keeps its weights.
5. `ngf.defenses` purifies it with a few clean images: NGF, and others to compare with.
6. `ngf.optim` holds the mathematics: the exact natural gradient of a softmax layer, and K-FAC.
7. `ngf.evaluate` counts clean accuracy (CA), attack success rate (ASR) and robust accuracy (RA).
8. `ngf.runs` keeps each run in a folder, so that it can be watched, paused, killed and resumed.

`ngf.catalogue` lists all of it, `ngf.config` and `ngf.options` say what a run is made of, and
`python -m ngf` does it from a terminal.

Importing this package imports no torch.
"""

__version__ = "0.1.0"
NUMBERS = 1  # raised when the same specification gives other numbers; see `ngf.runs.here`
