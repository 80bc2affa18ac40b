"""Scores of boxes and heatmaps against ground truth, and how sure they are."""
