"""Trials that try to break what is promised; ``make trust`` runs their long form."""
