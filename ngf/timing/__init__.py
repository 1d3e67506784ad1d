"""How long a run takes here: steps timed on this machine, and what follows from them."""
