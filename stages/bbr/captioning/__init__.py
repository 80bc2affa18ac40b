"""Captions of image regions, and "what is where by looking": an image in, described regions out."""
