"""From data and attack to a trained network, and the attacker who may sit inside the loop."""
