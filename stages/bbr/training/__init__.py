"""What every training loop shares: schedules, the loop, checkpoints, several processes."""
