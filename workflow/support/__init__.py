"""What the Snakefile needs in plain Python: configuration, names of artifacts, code tracking."""

import sys
from pathlib import Path

# Some modules read files as the stages do.
sys.path.insert(0, str(Path(__file__).parents[2] / "stages"))
