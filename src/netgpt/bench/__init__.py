"""Benchmarks: every figure that the README quotes comes from here."""
