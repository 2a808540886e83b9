"""One command for the first day there is a GPU: see command.py."""
