"""Procedures that make many fits, and return records of what they found.

compare       several approximations of one target, each checked
compare_models several models of the same data, by their evidence and by leave-one-out prediction
calibration   whether a fitting procedure is right on average over data that the model itself simulates
amortisation  what it costs that one encoder makes the q of every row, and q for new rows
sampling      exact draws of the posterior, by NUTS that starts from a fit
detection     planted failures, and how often each diagnostic notices them
"""
