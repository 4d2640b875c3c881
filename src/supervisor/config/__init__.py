"""The settings: declared once in a table, found in files, environment and command line."""
