"""The KL calculator behind `vi-kl kl`: two distributions as users write them, and their divergence in words.

syntax            what is seen of expressions before JAX is imported
expressions       from "Gamma(2, 3)" to a NumPyro distribution, by walking Python's syntax tree: nothing is evaluated
arithmetic        numbers and arrays in expressions
namespace         the names that an expression may use
construct         a constructor with its arguments, and errors that say what is wrong with them
constraint_text   NumPyro's constraints in words
input_errors      an error that points at its place in the expression
answer            the divergence, with its error, its method, and why it is infinite
interpretation    what the number means, in a sentence
show              the answer on a terminal or a pipe
pairs             the pairs whose divergence has an exact form
help_text         the text of `vi-kl kl --help`
run               what the command calls once its arguments are known
spinner           a spinner for what takes long
"""
