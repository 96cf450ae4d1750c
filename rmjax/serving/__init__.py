"""A reward model over HTTP: requests of many clients, scored together."""
