"""The embedded gold corpus: generated requests and responses with a known reward."""
