"""Tiled, the client's side and the server's side."""
