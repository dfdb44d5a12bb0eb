"""`python -m earmark`: the command line."""

from earmark.cli.main import main

if __name__ == "__main__":
    main()
