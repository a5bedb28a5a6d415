"""From a normalised spectrum to its answer."""
