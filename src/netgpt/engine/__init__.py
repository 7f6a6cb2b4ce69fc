"""Runs one model for many sessions: the contract and its implementations."""
