"""How pairs are made of a text: it is cut, asked about, and what comes back is read and checked. No I/O, no clock.

1. The unit is the passage (`chunks`): one request, paid once. What is known of it is kept by `notes`, as `values`.
2. A model is asked in words of ours or of a person's (`prompts`), and what it says is read (`reading`): nothing that
   it says raises. Without a model, `rules` make pairs that are simple and true.
3. Nothing is believed: a pair is kept only with a piece of the passage that proves it (`checks`), and each one that
   is not kept has its reason.
4. Of each file it can be told which of its bytes were taught, and which were not, and why (`coverage`).
"""
