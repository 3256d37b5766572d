"""What every other part stands on: estimates, precision, compilation, random keys, files, programs of functions."""
