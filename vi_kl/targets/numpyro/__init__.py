"""Targets from NumPyro models: what a model is asked, and how its discrete, masked and unused sites are treated."""
