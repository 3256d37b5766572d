"""Targets from NumPyro models: inspection of models, and how discrete, masked and unused sites are treated."""
