"""The only package that imports upstream: activation, cures, devices, seams, data and checkpoints.

Read `activation` first: it is what `main.py --plugin rcas` calls. Nothing here imports upstream at import time.
"""
