"""Drop folders: the only room that touches them. It sweeps, reads, claims, archives, and wakes on change.

1. No other room of the adapters is used here: who wires everything together brings the wake, and the clock.
2. Everything but `watch` is synchronous and blocks: call it from a worker thread, one call a folder at a time.
3. No symbolic link below a folder is followed, nothing is overwritten, and nothing deleted but learned files with
   after = "delete".
4. Every act may be repeated after a crash and ends the same.
5. What is used is imported from its module: a command that explains a file starts without what watches folders.
"""
