"""f^h: f fine-tuned through a frozen h, from batches of images to the choice of a checkpoint."""
