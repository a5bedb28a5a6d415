"""The durable queue of spectra, and the values it keeps."""
