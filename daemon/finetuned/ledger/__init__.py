"""The ledger: the only room that knows SQL.

1. One writer, held by a lock beside the file; every public method is one transaction in BEGIN IMMEDIATE.
2. Every change of state is one guarded update (`where id = ? and version = ?`) and one event row, in the same
   transaction. Nothing leaves a state by a way that `lifecycle` does not know.
3. WAL with synchronous=FULL: what was committed survives a power cut.
4. Readers open it read-only and never wait for the writer.
5. What is used is imported from its module: a command that reads (`queries`) starts without what writes (`writer`).
"""
