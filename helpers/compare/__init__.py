"""Trained models side by side: pictures, features, scores, Table 2."""

from helpers.compare import applications, features, pictures, prompt_box, reader, scores, table2, trained, xyz
