"""The commands that the sandbox adds to ``meshfed``. Each imports what it needs when it runs."""
