"""What an embedder is tuned on: pairs of a question and its passage, where they come from, and which are refused."""
