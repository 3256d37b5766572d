"""A model and its data in files, as the command line takes them.

    model = read_model("radon.py:varying_intercepts")       a function of a file of Python
    table = read_table("radon.csv")                         columns of CSV, parquet, JSON, npz or netCDF
    bound = bind(model, table, ["floor=basement"])          the model's arguments, by name
    target = bound.target()

Its parts:

    errors      FileError: what is wrong with a file, and the mend
    model       the function, and the errors of its code as sentences
    table       columns as arrays of numbers; text as codes with labels
    arguments   which column, number or file each argument of the model gets
    labels      which entries of the model's sites the labels of text are of
"""

from vi_kl.targets.file.arguments import Bound, bind, from_anywhere
from vi_kl.targets.file.errors import FileError
from vi_kl.targets.file.labels import joint_labels, labels_of_axes
from vi_kl.targets.file.model import ModelFile, read_model
from vi_kl.targets.file.table import FORMATS, Table, read_table

__all__ = [
    "FORMATS",
    "Bound",
    "FileError",
    "ModelFile",
    "Table",
    "bind",
    "from_anywhere",
    "joint_labels",
    "labels_of_axes",
    "read_model",
    "read_table",
]
