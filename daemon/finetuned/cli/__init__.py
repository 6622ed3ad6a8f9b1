"""The door: words for people. Parses, wires everything together, prints.

1. Data goes to standard output, words to standard error; a listing is a table, or JSON when asked for.
2. An error is one line what, one line for each cause, one line what to do; a traceback only with `--debug`.
3. A command imports what it needs when it runs: `--help` must come at once.
"""
