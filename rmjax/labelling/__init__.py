"""Judgements of people: a page that asks for rankings, and the file that they are written to."""
