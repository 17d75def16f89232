"""The page: built here, launched by app.py. One file a tab; only this package knows gradio."""
