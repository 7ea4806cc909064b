"""Look at every template in every language, and check it: `make templates`."""
