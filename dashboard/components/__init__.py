"""Components of our own, plain JavaScript: one folder each."""
