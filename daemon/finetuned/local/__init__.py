"""The backend of one's own: pairs are made with any model, and a trainer runs on this machine or on a cluster.

1. A run is a folder, whose name is the attempt's marker: what lies in it is the truth of a run, laid there by rename.
2. A trainer is a program, never an import: each has an environment of its own. Nothing of one is loaded in the daemon.
3. A training outlives the daemon: a small program (`runner`) holds a lock for as long as it runs, and leaves its end.
4. Only an exit code 0 that was left, and the trainer's own result, prove a training.
"""
