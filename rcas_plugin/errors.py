"""`RcasError`, the exception for a user's mistakes."""

from __future__ import annotations


class RcasError(ValueError):
    """Bad input, said in one sentence that names the key (or file) and the cure.

    The command line prints the sentence and ends with exit code 2; library users catch it like any `ValueError`.
    """
