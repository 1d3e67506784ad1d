"""What several data sets share: folders of files, decoded caches, settings."""
