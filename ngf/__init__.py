"""Backdoor removal by natural gradient fine-tuning, live.

The story in ten lines:

1. `ngf.data` gives clean images and their splits.
2. `ngf.attacks` describes triggers; `ngf.attacks.poison` puts them on training images.
3. `ngf.training.loop` trains a network on the mix and refuses one that did not learn both tasks.
4. `ngf.defenses` purifies it with a few clean images: NGF, and plain fine-tuning beside it.
5. `ngf.optim` holds the mathematics: the exact natural gradient of a softmax layer, and K-FAC.
6. `ngf.evaluate` counts clean accuracy (CA), attack success rate (ASR) and robust accuracy (RA).
7. `ngf.training.run` runs the whole flow and yields events.
8. `ngf.runs` keeps each run in a folder, so that it can be watched, paused, killed and resumed.

Importing this package imports no torch.
"""

__version__ = "0.1.0"
