"""The details of search: what was typed, what it refers to, the order of the hits, and whether posts cover it."""
