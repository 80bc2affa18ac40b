"""The method as a library: pure functions and small modules that the stages share."""
