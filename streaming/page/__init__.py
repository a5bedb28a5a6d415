"""The live page and what it asks the service for."""
