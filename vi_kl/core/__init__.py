"""The foundation of every other part: estimates, precision, compilation, random keys, files, programs of functions."""
