"""Whether the messenger answers, and how fast."""
