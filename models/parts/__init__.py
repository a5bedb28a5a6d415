"""What a file of weights holds: the networks and tables that a model is made of."""
