"""The HTTP surface: OpenAI-compatible /v1 at every door, control /api/v1 at the controller."""
