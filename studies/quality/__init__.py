"""How good the clusters are: `python -m studies.quality.study`, and docs/quality.md."""
