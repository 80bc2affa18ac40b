"""CLIP, frozen: the published networks or a small one, and where it looks when it reads a text."""
