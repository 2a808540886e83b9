"""Trained models side by side: pictures, features, scores, Table 2."""

from helpers.compare import applications, features, pictures, reader, recogniser, scores, table2, trained, xyz
from helpers.compare.widgets import prompt_box
