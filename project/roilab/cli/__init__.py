"""The command line: arguments, and what is printed. `roilab.cli.main` has the list of commands."""
