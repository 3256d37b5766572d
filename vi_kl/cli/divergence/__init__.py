"""The KL calculator behind `vi-kl kl`: two distributions as a person writes them, one divergence in words.

expressions       "Gamma(2, 3)" to a NumPyro distribution, by walking Python's syntax tree: nothing is evaluated
namespace         the names that an expression may use
construct         a constructor with its arguments; what was wrong with them, in the constructor's own words
constraint_text   NumPyro's constraints in words
input_errors      an error that points at its place in the expression
answer            the divergence, with its error, its method, and why it is infinite
interpretation    what the number says, in a sentence
show              the answer on a terminal or a pipe
pairs             which divergences have an exact form
"""
