"""What the messenger and its maintenance are made of, and what there is newer of it. Looked at, never changed."""
