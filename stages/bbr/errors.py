"""The one exception that means "the user can mend this"."""


class InputError(Exception):
    """Bad input or configuration.

    Its text is a single line that says what is wrong, where, and how to mend it; stages print it
    to stderr and exit with status 1, without a traceback.
    """
