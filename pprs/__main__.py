"""`python -m pprs` is the command line."""

from pprs.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
