"""Dataset layouts read into one form, and their images measured."""

from .coco import read_coco
from .flickr30k import read_flickr30k
from .folder import read_folder
from .layouts import IMAGE_SETS, LAYOUTS, read_layout
from .listing import Listing
from .measure import measure_images
from .referit import read_referit
from .visual_genome import read_visual_genome
from .voc import VOC_CLASSES, read_voc

__all__ = [
    "IMAGE_SETS",
    "LAYOUTS",
    "VOC_CLASSES",
    "Listing",
    "measure_images",
    "read_coco",
    "read_flickr30k",
    "read_folder",
    "read_layout",
    "read_referit",
    "read_visual_genome",
    "read_voc",
]
