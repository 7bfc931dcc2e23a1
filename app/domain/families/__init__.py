"""The eight families of policies: one file each, joined by `app.domain.policies`."""
