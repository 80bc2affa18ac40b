"""Images, boxes and phrases of a dataset: its index, reading, augmentation."""
