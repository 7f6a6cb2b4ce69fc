"""The network's mind: membership and state folded from events. No prompt and no token passes here."""
