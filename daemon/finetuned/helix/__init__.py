"""The only room that speaks HTTP.

`service` is what the daemon asks for, `form` and `learn` are the dialects that answer it, `sessions` is what they do
alike, `client` the one door to the wire, `body` what is carried through it.
"""
