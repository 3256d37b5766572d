"""Mixtures, which have no closed form: bounds of their KL divergence.

bounds        the bounds, by Hershey & Olsen, Durrieu, Thiran & Kelly, and Kolchinsky & Tracey
components    the divergences between components, from which the bounds are computed
"""
