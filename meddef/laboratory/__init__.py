"""A laboratory of attacks that are wrong in known ways: which pattern does each leave in a table of accuracies?

Nothing here is an attack to use; the sound ones are in ``meddef.attacks``. ``signatures`` and ``tables`` need no torch.
"""
