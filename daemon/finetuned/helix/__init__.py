"""The only room that speaks HTTP.

`service` is what the daemon asks for; `form` and `learn` are the dialects that answer it, `auto` finds out which one,
`sessions` is what they do alike; `client` is the one door to the wire, `body` what is carried through it.
"""
