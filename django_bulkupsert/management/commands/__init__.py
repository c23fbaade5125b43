"""The commands: their arguments, and what they do with them in order."""
