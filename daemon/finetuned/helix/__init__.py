"""The only room that knows Helix, and the only one that speaks HTTP.

`sessions` is the backend; `form` and `learn` are the dialects it speaks, `dialects` tells which. `call` is a request as
a value, `client` the one door to the wire, `transport` its connections, `disk` what it needs of the machine, `body`
what is carried through it, `answers` what comes back, `speech` an answer that comes word by word, and `outcome` what
that means. `wire`, `qa`, `session` and `observe` turn the server's words into ours, without any I/O.
"""
