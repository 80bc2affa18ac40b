"""Boxes without h: methods on pixels, and methods that look at a whole collection at once."""
