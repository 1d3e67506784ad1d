"""What can be taken home of a run, in forms that need no window: files, tables, texts. No torch."""
