"""The least work that any program would have to do, as fast as its author could make it.

Nothing here imports `app` or anything else of the project outside this package (a test holds it).
"""
