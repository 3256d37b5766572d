"""The data sets of the models and examples: plain NumPy arrays, with where each comes from.

worm_teeth    the teeth of 1,000 worms from a far planet, with which the story of KL divergence begins
"""
