"""Mixtures, which have no closed form: what their KL divergence lies between.

bounds        the bounds, by Hershey & Olsen, Durrieu, Thiran & Kelly, and Kolchinsky & Tracey
components    the divergences between components that they are made of
"""
