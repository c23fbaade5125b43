"""One call, told from top to bottom: the table of contents of the library."""
