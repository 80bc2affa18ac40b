"""What our HDF5 files have in common: how they are laid out, and how damage shows."""

from __future__ import annotations

# Of `h5py.File(libver=...)`: since HDF5 1.10 headers have checksums, as our datasets do, so that a
# damaged file is refused and never misread.
LAYOUT_VERSION = "v110"

# What h5py raises on a damaged file, depending on the place of the damage.
DAMAGE = (OSError, LookupError, RuntimeError, TypeError, ValueError, AttributeError)
