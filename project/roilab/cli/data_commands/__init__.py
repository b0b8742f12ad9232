"""The commands of roilab data, a module each: `add_arguments(parser)` and `main(arguments)`."""
