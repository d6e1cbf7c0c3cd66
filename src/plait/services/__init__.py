"""What a tree can run: one file, one kind."""
