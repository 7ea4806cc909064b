"""The proof that nothing is lost: the whole system, a shop at work, and everything that can go wrong, counted."""
