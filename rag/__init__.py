"""The core: what a post, a passage, a hit and an answer are, and how one becomes the next."""
