"""What a task or a command does, in one call each: services and arguments in, a small JSON document out."""
