"""The pixels of a map together: less noise, and groups of like ones; numpy alone."""
