"""Images and their labels: bundled, or read from a folder that the user names."""

from pprs.tasks.images.images import Images
from pprs.tasks.images.scale import Scale
from pprs.tasks.images.source import ImageName, read_images

__all__ = ["ImageName", "Images", "Scale", "read_images"]
