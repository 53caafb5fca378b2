"""Write the page of the study."""


def write(*asked: object) -> None:
    """Write nothing yet."""
