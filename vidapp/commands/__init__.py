"""The commands of `python -m vidapp`, a file each: `add_arguments(parser)` and `execute(arguments) -> exit code`.

Whatever needs torch is imported inside the functions, so that `--help` answers at once.
"""
