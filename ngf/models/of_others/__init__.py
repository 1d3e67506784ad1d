"""Networks of other people's code, by the names that their weights have there."""
