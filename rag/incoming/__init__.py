"""How posts come in: addresses, fetching, what a source lists, and the way of a document into the library."""
