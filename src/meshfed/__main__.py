"""``python -m meshfed``: the same as the ``meshfed`` command."""

from meshfed.cli import main

if __name__ == "__main__":
    main()
