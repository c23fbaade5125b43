"""The app of the tutorial."""
