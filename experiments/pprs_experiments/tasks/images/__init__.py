"""Images and their labels: bundled, or read from a folder that the user names."""

from pprs_experiments.tasks.images.source import ImageName, read_images

__all__ = ["ImageName", "read_images"]
