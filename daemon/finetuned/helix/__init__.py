"""The only room that speaks HTTP.

`service` is what the daemon asks for, `form` the dialect that answers it, `client` the one door to the wire,
`body` what is carried through it.
"""
