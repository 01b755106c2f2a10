"""Deep Global Clustering of hyperspectral images, in JAX."""
