"""The door: words for people. Parses, wires everything together, prints.

1. Data goes to standard output, words to standard error; a listing is a table, or JSON when asked for.
2. An error is one line what, one line for each cause, one line what to do; a traceback only with `--debug`.
3. A command's module is imported when it is called, for `--help` must come at once; only what few calls need of it
   (the daemon, the log, the server's library) is imported inside a function.
"""
