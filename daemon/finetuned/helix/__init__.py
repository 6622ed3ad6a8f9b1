"""The only room that speaks HTTP.

`service` is what the daemon asks for; `form` and `learn` are the dialects that answer it, `auto` finds out which one,
`sessions` is what they do alike, `speech` an answer that comes word by word; `client` is the one door to the wire,
`hearing` its connections, `body` what is carried through it, `answers` what comes back, and `outcome` what that means.
"""
