"""Strategies: who answers a request, and how the answer becomes final."""
