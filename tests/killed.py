"""What ends a command in a test as a kill would: no handler of ours catches it."""


class Killed(BaseException):
    """Raised in place of a kill."""
