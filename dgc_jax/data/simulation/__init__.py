"""Simulated leaf scenes with known truth."""
