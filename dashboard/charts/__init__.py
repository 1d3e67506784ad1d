"""Charts are pure functions: data in, a figure with its table and its finding out."""
