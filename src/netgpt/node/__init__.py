"""A running node's inside: sessions, handles to other nodes, the engine's service."""
