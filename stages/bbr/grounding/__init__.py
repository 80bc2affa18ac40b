"""g: the network that finds phrases in images, its training, its heatmaps and their boxes."""
