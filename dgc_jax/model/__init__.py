"""The method itself, as pure functions: no files, no flags."""
