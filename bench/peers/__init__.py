"""What a user would pick instead: small programs of our own against the public interfaces of other job systems."""
