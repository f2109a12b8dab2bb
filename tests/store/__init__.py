"""The store: what is kept, by whom at once, and what is answered."""
