"""One small reader for each family of file formats."""
