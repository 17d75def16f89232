"""What is on disk: the library (SQLite, the truth) and the index (Chroma, derived from it)."""
