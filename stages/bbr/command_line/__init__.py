"""What every stage's command line needs: options, one-line errors, quick starts, devices."""
