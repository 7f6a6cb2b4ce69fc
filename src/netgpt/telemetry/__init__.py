"""The one table of metrics, and the log."""
