"""How good search is on a person's own posts: questions made from them, and what the person marked right."""
