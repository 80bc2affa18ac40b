# What type checkers and editors read in place of __init__.py, which imports all this by name.
from . import heuristics as heuristics
from .backbones.build import load_backbone as load_backbone
from .discovery import Discovery as Discovery
from .discovery import discover as discover
