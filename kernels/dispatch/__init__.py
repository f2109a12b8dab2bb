"""Use the winners in a model: the table, the look-up, the call, and the layers that make it."""
