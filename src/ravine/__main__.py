"""`python -m ravine`: the command line."""

from ravine.cli import main

if __name__ == "__main__":
    main()
