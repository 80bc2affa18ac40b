"""Datasets and pretrained weights from the web: downloads, digests, archives, layouts."""
