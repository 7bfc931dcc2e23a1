"""What drives and measures, the same for ours and for its floor: publishers, clients, the real service."""
