"""Loading and running the neural models: the embedder and the writer."""
