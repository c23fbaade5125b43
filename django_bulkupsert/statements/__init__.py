"""Statements: SQL over a relation, whichever relation it is."""
