"""h: its network, its inputs, its targets and its loss L_h."""
