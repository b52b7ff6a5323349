"""The debugging checklist: does this config learn on this data, and if not, which part is to blame?

`checklist(subject)` yields a `Check` a question. Every check runs the parts that training and sampling run (the real
phase, objective, masks, rollout), on short clips, and can fail: tests plant the bug that each of them is to name.
"""
