"""The errors that a user can mend.

Everything that is wrong with an input (a file, a flag, a checkpoint) is raised as `InputError` with one sentence that
says what is wrong, where, and what to do about it. The scripts print that sentence and exit with status 1; any other
exception is a defect of ours and keeps its traceback.
"""


class InputError(ValueError):
    """Something the user gave cannot be used; the message is complete without a traceback."""
