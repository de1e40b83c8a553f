"""What becomes of the torch functions that receive a parameter, by kinds of functions."""
