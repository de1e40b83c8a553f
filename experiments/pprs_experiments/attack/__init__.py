"""The source's own experiment: a targeted attack on one image, with fair rivals beside it."""
