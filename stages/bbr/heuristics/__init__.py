"""Features in, boxes out: LOST, TokenCut, DINO-seg and MOVE's masks, by name in `registry`."""
