"""The commands of scripts/data.py, a module each: `add_arguments(parser)` and `main(arguments)`."""
