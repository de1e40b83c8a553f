"""What experiments are made on: data, networks, losses, attacks, and convex problems."""
