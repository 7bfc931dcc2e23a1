from hypothesis import settings

# A machine that is busy with other tests is no failure of a law.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
