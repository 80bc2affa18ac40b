"""How MOVE's segmenter is trained: inpainter, composition, discriminator and losses of masks."""
