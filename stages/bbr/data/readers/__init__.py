"""Dataset layouts read into one form, a module for each layout, and their images measured."""
