"""Densities as ratios to a reference: posteriors of processes, exponents of systematic variations, and their rates."""
