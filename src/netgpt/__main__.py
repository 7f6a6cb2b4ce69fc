"""`python -m netgpt`: the command `netgpt`, where it is not on the PATH."""

from netgpt.cli.main import entry

if __name__ == "__main__":
    entry()
