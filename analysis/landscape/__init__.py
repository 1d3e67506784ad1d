"""The loss away from the weights: along lines, on planes, between models."""
