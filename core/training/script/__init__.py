"""The script of a fine-tune: what is copied into every run folder and trains there, also by hand.

Nothing in here imports Lathe, and modules import each other relatively, so that the copy
works wherever torch, transformers, peft and trl are installed.

Knows: params, rows, training. Does not know: the registry, jobs, the database.
"""
