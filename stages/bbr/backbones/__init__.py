"""f: networks that turn images into patch features, and those features on disk."""
