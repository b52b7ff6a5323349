"""`python -m vidapp`: see `vidapp.cli`."""

import sys

if __name__ == "__main__":
    try:
        from .cli import main

        sys.exit(main())
    except KeyboardInterrupt:  # before there was a command
        print("vidapp: interrupted", file=sys.stderr)
        sys.exit(130)
