"""Data sets, networks and losses that the command line knows."""
