"""Other people's programs that need other packages than ours: an environment of their own, made on first use.

Nothing of it is in the project's locks, and nothing here imports `app`.
"""
