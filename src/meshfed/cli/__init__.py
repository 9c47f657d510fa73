"""The commands."""


def main() -> None:
    """Run ``meshfed``."""
