"""Objectives with a maximum in them, on real data: untuned methods, tuned rivals, solvers."""
