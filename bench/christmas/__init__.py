"""A simulated 25 December: a million deliveries wished for nine o'clock, wherever each recipient lives."""
