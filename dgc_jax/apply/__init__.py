"""Applying a trained model: segmentation, scores, spectra."""
