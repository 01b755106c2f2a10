"""Scenes: files to cubes, cubes to crops."""
