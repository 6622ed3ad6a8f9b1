"""The door: words for people. Parses, wires everything together, prints.

1. Data goes to standard output, words to standard error; a listing is a table, or JSON when asked for.
2. An error is one line what, one line for each cause, one line what to do; a traceback only with `--debug`.
3. A command's module is imported when it is called, for `--help` must come at once: of ours, and of libraries, it
   imports at its top only what tells of itself; what it works with is imported inside its functions. A test holds it.
"""
