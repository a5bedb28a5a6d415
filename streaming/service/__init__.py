"""The threads that carry a spectrum from its documents to its result."""
