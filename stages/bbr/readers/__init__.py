"""Dataset layouts read into one form, and their images measured."""

from .coco import read_coco
from .folder import read_folder
from .listing import Listing
from .measure import measure_images
from .voc import VOC_CLASSES, read_voc

__all__ = ["VOC_CLASSES", "Listing", "measure_images", "read_coco", "read_folder", "read_voc"]
