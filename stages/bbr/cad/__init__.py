"""CAD: the class-agnostic detector of Table 4's last rows, a Faster R-CNN on pseudo-boxes."""
