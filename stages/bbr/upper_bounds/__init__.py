"""What people's boxes, masks and phrases taught: networks that tables mark as supervised."""
