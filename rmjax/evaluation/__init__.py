"""Scores + judgements -> what the parameters are worth: numbers with their uncertainty, and figures."""
