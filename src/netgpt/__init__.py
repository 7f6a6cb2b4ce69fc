"""NetGPT runs large models on a communication network, and for it."""

__version__ = "0.1.0"
