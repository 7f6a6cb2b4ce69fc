"""Errors, ids, and the five protocols in which the simulated, emulated and deployed worlds differ."""
