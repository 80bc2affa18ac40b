"""Features in, boxes out: one heuristic a module, by name in `registry`."""
